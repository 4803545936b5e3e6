//! Which engine runs models, and where it is.
//!
//! Pure. Invariant: an address may hold a token, so that it is shown nowhere.

use super::notify::Hidden;

/// What does a part of the work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engines {
    /// What runs the models whose header names no engine.
    pub transform: Transform,
    /// The Spark of models whose header names it, where `transform` has no address.
    pub spark: Option<Hidden>,
}

/// What runs models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Transform {
    /// This process.
    #[default]
    DataFusion,
    /// The Spark that `engines.spark` names.
    Spark,
    /// A Spark at this address.
    SparkAt(Hidden),
}

impl Engines {
    /// The address of the Spark that models run on, where one is named.
    #[must_use]
    pub fn spark_address(&self) -> Option<&Hidden> {
        match &self.transform {
            Transform::SparkAt(address) => Some(address),
            Transform::DataFusion | Transform::Spark => self.spark.as_ref(),
        }
    }

    /// Whether a model runs on Spark whose header names no engine.
    #[must_use]
    pub fn transforms_on_spark(&self) -> bool {
        self.transform != Transform::DataFusion
    }
}

impl Transform {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "datafusion" => Ok(Self::DataFusion),
            "spark" => Ok(Self::Spark),
            address if address.starts_with(SCHEME) => spark_address(address).map(Self::SparkAt),
            _ => Err("must be datafusion, spark or an address such as sc://spark.example.org:15002"),
        }
    }
}

const SCHEME: &str = "sc://";

/// An address of Spark Connect, as far as it can be told without the client that speaks to it.
pub(super) fn spark_address(text: &str) -> Result<Hidden, &'static str> {
    let host = text.strip_prefix(SCHEME).and_then(|rest| rest.split(['/', ':', ';']).next());
    match host {
        Some(host) if !host.is_empty() && !text.contains(char::is_whitespace) => Ok(text.into()),
        _ => Err("must be the address of Spark Connect, such as sc://spark.example.org:15002"),
    }
}
