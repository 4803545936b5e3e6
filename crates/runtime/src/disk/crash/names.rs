//! The folders of the crash double: names as they are, names as they are synced, and the changes between the two.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::{Component, Path};
use std::sync::Arc;

use super::file::FileNode;
use super::random::Random;
use crate::disk::DirEntry;

/// The folder that is always there.
const ROOT: DirId = DirId(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DirId(u64);

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Arc<FileNode>),
    Dir(DirId),
}

type Entries = BTreeMap<OsString, Node>;

/// All folders.
#[derive(Debug, Default)]
pub(super) struct Names {
    current: BTreeMap<DirId, Entries>,
    durable: BTreeMap<DirId, Entries>,
    /// Changes since the folders they touch were synced, in order.
    pending: Vec<NameChange>,
    folders_made: u64,
}

/// One atomic change of names: a rename takes one away and sets another.
#[derive(Debug)]
struct NameChange {
    removed: Option<(DirId, OsString)>,
    set: Option<(DirId, OsString, Node)>,
}

impl NameChange {
    fn touches(&self, dir: DirId) -> bool {
        self.removed.as_ref().is_some_and(|(at, _)| *at == dir)
            || self.set.as_ref().is_some_and(|(at, _, _)| *at == dir)
    }

    fn apply(&self, tree: &mut BTreeMap<DirId, Entries>) {
        if let Some((dir, name)) = &self.removed
            && let Some(entries) = tree.get_mut(dir)
        {
            entries.remove(name);
        }
        if let Some((dir, name, node)) = &self.set {
            tree.entry(*dir).or_default().insert(name.clone(), node.clone());
        }
    }
}

impl Names {
    pub(super) fn find(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Dir(ROOT);
        for component in path.components() {
            let Component::Normal(name) = component else {
                continue;
            };
            let Node::Dir(dir) = node else {
                return Err(ErrorKind::NotADirectory.into());
            };
            node = self.entry(dir, name).ok_or(ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    pub(super) fn create(&mut self, path: &Path, file: Arc<FileNode>) -> io::Result<Arc<FileNode>> {
        let (dir, name) = self.free_place(path)?;
        self.change(NameChange { removed: None, set: Some((dir, name, Node::File(Arc::clone(&file)))) });
        Ok(file)
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let Node::File(file) = self.find(from)? else {
            return Err(ErrorKind::IsADirectory.into());
        };
        let (dir, name) = self.free_place(to)?;
        self.change(NameChange { removed: None, set: Some((dir, name, Node::File(file))) });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let from = self.place(from)?;
        let (dir, name) = self.place(to)?;
        match (&node, self.entry(dir, &name)) {
            (Node::File(_), Some(Node::Dir(_))) => return Err(ErrorKind::IsADirectory.into()),
            (Node::Dir(_), Some(Node::File(_))) => return Err(ErrorKind::NotADirectory.into()),
            (Node::Dir(_), Some(Node::Dir(target)))
                if self.current.get(&target).is_some_and(|held| !held.is_empty()) =>
            {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            _ => {}
        }
        if from == (dir, name.clone()) {
            return Ok(());
        }
        self.change(NameChange { removed: Some(from), set: Some((dir, name, node)) });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        if matches!(self.find(path)?, Node::Dir(_)) {
            return Err(ErrorKind::IsADirectory.into());
        }
        let place = self.place(path)?;
        self.change(NameChange { removed: Some(place), set: None });
        Ok(())
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        match self.find(path) {
            Ok(Node::Dir(_)) => return Ok(()),
            Ok(Node::File(_)) => return Err(ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Err(_) => {}
        }
        if let Some(parent) = path.parent() {
            self.create_dir_all(parent)?;
        }
        let (dir, name) = self.free_place(path)?;
        self.folders_made += 1;
        let made = DirId(self.folders_made);
        self.current.insert(made, Entries::new());
        self.change(NameChange { removed: None, set: Some((dir, name, Node::Dir(made))) });
        self.sync(dir);
        Ok(())
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let Node::Dir(dir) = self.find(path)? else {
            return Err(ErrorKind::NotADirectory.into());
        };
        self.empty(dir);
        let place = self.place(path)?;
        self.change(NameChange { removed: Some(place), set: None });
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        match self.find(path)? {
            Node::Dir(dir) => {
                self.sync(dir);
                Ok(())
            }
            Node::File(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let dir = match self.find(path) {
            Ok(Node::Dir(dir)) => dir,
            Ok(Node::File(_)) => return Err(ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let entries = self.current.get(&dir).into_iter().flatten();
        let listed = entries.map(|(name, node)| {
            let (is_dir, length, modified_ms) = match node {
                Node::File(file) => (false, file.metadata().length, file.metadata().modified_ms),
                Node::Dir(_) => (true, 0, 0),
            };
            DirEntry { path: path.join(name), is_dir, length, modified_ms }
        });
        Ok(listed.collect())
    }

    /// What a crash leaves: the synced names, and of the changes after them none, all, the first ones or any.
    pub(super) fn settle(&mut self, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        let style = random.up_to(3);
        let first = random.up_to(pending.len());
        for (index, change) in pending.iter().enumerate() {
            let survives = match style {
                0 => false,
                1 => true,
                2 => index < first,
                _ => random.flip(),
            };
            if survives {
                change.apply(&mut self.durable);
            }
        }
        self.forget_unreachable();
        self.current = self.durable.clone();
    }

    /// Calls with every file once, whatever its number of names, in the order of the names.
    pub(super) fn for_each_file(&self, call: &mut dyn FnMut(&FileNode)) {
        let mut seen = HashSet::new();
        for entries in self.current.values() {
            for node in entries.values() {
                if let Node::File(file) = node
                    && seen.insert(Arc::as_ptr(file))
                {
                    call(file);
                }
            }
        }
    }

    fn entry(&self, dir: DirId, name: &OsStr) -> Option<Node> {
        self.current.get(&dir).and_then(|entries| entries.get(name)).cloned()
    }

    /// The folder that must hold a path's last name, and that name.
    fn place(&self, path: &Path) -> io::Result<(DirId, OsString)> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        match self.find(path.parent().unwrap_or(Path::new("/")))? {
            Node::Dir(dir) => Ok((dir, name.to_os_string())),
            Node::File(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn free_place(&self, path: &Path) -> io::Result<(DirId, OsString)> {
        let (dir, name) = self.place(path)?;
        match self.entry(dir, &name) {
            None => Ok((dir, name)),
            Some(_) => Err(ErrorKind::AlreadyExists.into()),
        }
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    /// Removes what a folder holds, each name a change of its own: a crash may leave some of them.
    fn empty(&mut self, dir: DirId) {
        for (name, node) in self.current.get(&dir).cloned().unwrap_or_default() {
            if let Node::Dir(inner) = node {
                self.empty(inner);
            }
            self.change(NameChange { removed: Some((dir, name)), set: None });
        }
    }

    fn sync(&mut self, dir: DirId) {
        let (settled, left) = std::mem::take(&mut self.pending).into_iter().partition(|change| change.touches(dir));
        let settled: Vec<NameChange> = settled;
        self.pending = left;
        for change in &settled {
            change.apply(&mut self.durable);
        }
    }

    fn forget_unreachable(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(dir) = open.pop() {
            for node in self.durable.get(&dir).into_iter().flat_map(|entries| entries.values()) {
                if let Node::Dir(inner) = node
                    && reached.insert(*inner)
                {
                    open.push(*inner);
                }
            }
        }
        self.durable.retain(|dir, _| reached.contains(dir));
    }
}
