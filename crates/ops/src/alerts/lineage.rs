//! Which dataset derives from which, for alerts: one cause is one message.
//!
//! Built from the models' inputs. Invariant: a dataset is none of its own ancestors.

use std::collections::{BTreeMap, BTreeSet};

/// The datasets of a project and what each is made of, by name.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    inputs: BTreeMap<String, Vec<String>>,
}

impl Lineage {
    /// From each derived dataset's inputs.
    #[must_use]
    pub fn new(inputs: impl IntoIterator<Item = (String, Vec<String>)>) -> Self {
        Self { inputs: inputs.into_iter().collect() }
    }

    /// Everything that a dataset derives from.
    #[must_use]
    pub fn ancestors(&self, dataset: &str) -> BTreeSet<String> {
        let (mut found, mut open) = (BTreeSet::new(), vec![bare(dataset).to_owned()]);
        while let Some(next) = open.pop() {
            for input in self.inputs.get(&next).into_iter().flatten() {
                if found.insert(input.clone()) {
                    open.push(input.clone());
                }
            }
        }
        found.remove(bare(dataset));
        found
    }

    /// Everything that derives from a dataset, by name.
    #[must_use]
    pub fn descendants(&self, dataset: &str) -> Vec<String> {
        let dataset = bare(dataset);
        self.inputs.keys().filter(|name| self.ancestors(name).contains(dataset)).cloned().collect()
    }
}

/// The name without its layer: it is unique in a project.
#[must_use]
pub fn bare(dataset: &str) -> &str {
    dataset.rsplit('.').next().unwrap_or(dataset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_and_descendants_reach_all_the_way_and_end() {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let lineage = Lineage::new([
            ("b".to_owned(), own(&["a"])),
            ("c".to_owned(), own(&["b", "dim"])),
            ("loop".to_owned(), own(&["loop"])),
        ]);
        assert_eq!(lineage.ancestors("serving.c").into_iter().collect::<Vec<_>>(), ["a", "b", "dim"]);
        assert_eq!(lineage.descendants("raw.a"), ["b", "c"]);
        assert!(lineage.ancestors("loop").is_empty() && lineage.descendants("c").is_empty());
    }
}
