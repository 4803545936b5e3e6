//! The log as the endpoint, landing and operations use it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, oneshot, watch};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::disk::Disk;

use super::commit::{Lane, enough, roll};
use super::partition::{AppendTicket, Partition, StoredBatch, TicketState};
use super::queue::{Append, LaneQueue};
use super::registry::Registry;
use super::topics::{Opening, Topic, Topics, count_unlanded, orphans};
use super::{
    CheckedBatch, Damage, LogError, LogMetrics, LogOptions, RecoveryReport, TopicId, TopicInfo, TopicPartition,
    Trimmed, retention,
};

/// The durable log. One per data folder; the folder's lock is the caller's.
pub struct Log {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    options: Arc<LogOptions>,
    metrics: Arc<LogMetrics>,
    clock: Clock,
    registry: Mutex<Registry>,
    topics: RwLock<Topics>,
    lanes: Vec<Arc<LaneQueue>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    relieved: Notify,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Log").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log in a folder, or makes it; recovers every registered topic. Blocking.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        options: LogOptions,
        clock: Clock,
    ) -> Result<(Arc<Self>, RecoveryReport), LogError> {
        disk.create_dir_all(folder).map_err(LogError::io("make", folder))?;
        let registry = Registry::load(Arc::clone(&disk), folder)?;
        let (options, metrics) = (Arc::new(options), Arc::new(LogMetrics::default()));
        let (mut topics, mut report) = (Topics::default(), RecoveryReport::default());
        let opening = Opening { disk: &disk, folder, options: &options, clock: &clock, metrics: &metrics };
        for (name, id, partitions) in registry.topics() {
            let mut topic = Topic::new(id);
            opening.add_partitions(name, &mut topic, partitions, &mut report)?;
            topics.names.insert(id, name.to_owned());
            topics.by_name.insert(name.to_owned(), topic);
        }
        report.orphans = orphans(disk.as_ref(), folder, &topics)?;
        let lanes: Vec<_> = (0..options.lanes.max(1)).map(|_| Arc::new(LaneQueue::default())).collect();
        let mut threads = Vec::new();
        for (number, queue) in lanes.iter().enumerate() {
            let lane = Lane {
                queue: Arc::clone(queue),
                options: Arc::clone(&options),
                metrics: Arc::clone(&metrics),
                clock: clock.clone(),
                full: std::cell::Cell::new(false),
            };
            let thread = std::thread::Builder::new().name(format!("log-{number}")).spawn(move || lane.run());
            threads.push(thread.map_err(LogError::io("start a writing thread for", folder))?);
        }
        let log = Self {
            disk,
            folder: folder.to_path_buf(),
            options,
            metrics,
            clock,
            registry: Mutex::new(registry),
            topics: RwLock::new(topics),
            lanes,
            threads: Mutex::new(threads),
            relieved: Notify::new(),
        };
        Ok((Arc::new(log), report))
    }

    /// Registers a topic or adds partitions to it, durably, and lets clients see it. Blocking.
    pub fn ensure_topic(&self, name: &str, partitions: u32) -> Result<TopicId, LogError> {
        let mut registry = self.registry.lock();
        let id = registry.ensure(name, partitions)?;
        let mut topics = self.topics.write();
        let mut topic = topics.by_name.remove(name).unwrap_or_else(|| Topic::new(id));
        let opening = Opening {
            disk: &self.disk,
            folder: &self.folder,
            options: &self.options,
            clock: &self.clock,
            metrics: &self.metrics,
        };
        let added = opening.add_partitions(name, &mut topic, partitions, &mut RecoveryReport::default());
        topic.active |= added.is_ok();
        topics.names.insert(id, name.to_owned());
        topics.by_name.insert(name.to_owned(), topic);
        added.map(|()| id)
    }

    /// Every registered topic, by name. Those without a contract in this run are not active.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicInfo> {
        self.topics.read().by_name.iter().map(|(name, topic)| topic.info(name)).collect()
    }

    /// One topic by its name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<TopicInfo> {
        self.topics.read().by_name.get(name).map(|topic| topic.info(name))
    }

    /// One topic by its id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<TopicInfo> {
        let topics = self.topics.read();
        let name = topics.names.get(&id)?;
        topics.by_name.get(name).map(|topic| topic.info(name))
    }

    /// Queues a batch for its partition's lane; batches of one caller keep their order. The ticket resolves when it is durable.
    pub fn append(&self, partition: TopicPartition, batch: CheckedBatch) -> AppendTicket {
        let partition = match self.partition(partition) {
            Ok(partition) => partition,
            Err(error) => return AppendTicket(TicketState::Refused(Some(error))),
        };
        let (reply, receiver) = oneshot::channel();
        let key = partition.id.topic.0.as_u128().wrapping_add(u128::try_from(partition.id.partition).unwrap_or(0));
        let lane = usize::try_from(key % self.lanes.len().max(1) as u128).unwrap_or(0);
        let pushed = self.lanes.get(lane).is_some_and(|lane| lane.push(Append { partition, batch, reply }).is_ok());
        AppendTicket(if pushed { TicketState::Waiting(receiver) } else { TicketState::Refused(Some(LogError::Closed)) })
    }

    /// The sequence of the one batch that a producer of [`super::ONE_BATCH_EPOCH`] has in the partition. Blocking: it waits
    /// for a group that is being written.
    pub fn only_batch(&self, partition: TopicPartition, producer_id: i64) -> Result<Option<i32>, LogError> {
        Ok(self.partition(partition)?.writer.lock().producers.only_batch(producer_id))
    }

    /// Durable batches from the one that holds `from_offset` on: at least one when there is one, then up to `bytes_max`.
    /// Empty at the end. Blocking, from the page cache as a rule.
    pub fn read(
        &self,
        partition: TopicPartition,
        from_offset: i64,
        bytes_max: usize,
    ) -> Result<Vec<StoredBatch>, LogError> {
        self.read_from(partition, from_offset, bytes_max, true)
    }

    /// The same, but no batch beyond the limit, also not the first.
    pub fn read_at_most(
        &self,
        partition: TopicPartition,
        from_offset: i64,
        bytes_max: usize,
    ) -> Result<Vec<StoredBatch>, LogError> {
        self.read_from(partition, from_offset, bytes_max, false)
    }

    fn read_from(
        &self,
        partition: TopicPartition,
        from_offset: i64,
        bytes_max: usize,
        whole_first: bool,
    ) -> Result<Vec<StoredBatch>, LogError> {
        let batches = self.partition(partition)?.read(from_offset, bytes_max, whole_first)?;
        let bytes: usize = batches.iter().map(|stored| stored.batch.len()).sum();
        self.metrics.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(batches)
    }

    /// The next offset after the last durable one.
    pub fn durable_end(&self, partition: TopicPartition) -> Result<i64, LogError> {
        Ok(self.partition(partition)?.end())
    }

    /// The first offset that the partition holds.
    pub fn start_offset(&self, partition: TopicPartition) -> Result<i64, LogError> {
        Ok(self.partition(partition)?.start())
    }

    /// Fires (by a changing number) whenever some partition of the topic has new durable data.
    pub fn watch(&self, topic: TopicId) -> Option<watch::Receiver<u64>> {
        let topics = self.topics.read();
        let name = topics.names.get(&topic)?;
        topics.by_name.get(name).map(|topic| topic.changed.subscribe())
    }

    /// The first record whose timestamp is at or after a time: its timestamp and offset. Blocking.
    pub fn offset_for_time(&self, partition: TopicPartition, time_ms: i64) -> Result<Option<(i64, i64)>, LogError> {
        self.partition(partition)?.offset_for_time(time_ms)
    }

    /// The largest record timestamp that the partition holds, milliseconds since 1970; none when it is empty.
    pub fn max_timestamp_ms(&self, partition: TopicPartition) -> Result<Option<i64>, LogError> {
        Ok(self.partition(partition)?.max_timestamp_ms())
    }

    /// Landing has committed everything up to an offset. Call it once per partition at start too, before produces are
    /// taken: where the commit is ahead of what the log holds (it lost its tail), the log goes on after the commit,
    /// because landing would take lower offsets for what it has already. Blocking in that case.
    pub fn landed(&self, partition: TopicPartition, through_offset: i64) -> Result<(), LogError> {
        let partition = self.partition(partition)?;
        let landed_end = through_offset.saturating_add(1);
        if landed_end > partition.end() && partition.damage.is_none() {
            let mut writer = partition.writer.lock();
            if landed_end > partition.end() {
                tracing::error!(partition = %partition.id, landed = through_offset, end = partition.end(), "the log ends before what was committed from it: it goes on after the commit");
                roll(&partition, &mut writer, Some(landed_end), &self.options, self.clock.now_ms())?;
                partition.durable_end.store(landed_end, Ordering::Release);
            }
        }
        partition.landed_end.fetch_max(landed_end, Ordering::AcqRel);
        count_unlanded(&partition, &self.metrics);
        self.relieve();
        Ok(())
    }

    /// Removes what retention allows, in every partition. Blocking; call it now and then.
    pub fn trim(&self) -> Result<Trimmed, LogError> {
        let now_ms = self.clock.now_ms();
        let partitions: Vec<_> =
            self.topics.read().by_name.values().flat_map(|topic| topic.partitions.clone()).collect();
        let mut total = Trimmed::default();
        for partition in partitions {
            let trimmed = retention::trim(&partition, &self.options, now_ms)?;
            total.segments += trimmed.segments;
            total.bytes += trimmed.bytes;
        }
        self.metrics.bytes_trimmed.fetch_add(total.bytes, Ordering::Relaxed);
        Ok(total)
    }

    /// Waits while landing is too far behind, but not for ever: a produce is slowed, not refused. The answer is how long
    /// the client should be throttled, in milliseconds.
    pub async fn admit(&self) -> u32 {
        if !self.is_pressed() {
            return 0;
        }
        self.metrics.pressure_waits.fetch_add(1, Ordering::Relaxed);
        let wait = async {
            loop {
                let relieved = self.relieved.notified();
                if !self.is_pressed() {
                    return;
                }
                relieved.await;
            }
        };
        match tokio::time::timeout(Duration::from_millis(self.options.pressure_wait_ms_max), wait).await {
            Ok(()) => 0,
            Err(_) => 1_000,
        }
    }

    /// Whether there is room for produces.
    ///
    /// # Errors
    /// `DiskFull` while they are refused; `Io` when the file system does not say.
    pub fn room(&self) -> Result<(), LogError> {
        let free_bytes = self.disk.free_bytes(&self.folder);
        enough(free_bytes.map_err(LogError::io("ask for the free space of", &self.folder))?, &self.options)
    }

    /// Damage in a topic's partitions, found at start or met by a read since.
    #[must_use]
    pub fn damages(&self, topic: TopicId) -> Vec<Damage> {
        let topics = self.topics.read();
        let topic = topics.names.get(&topic).and_then(|name| topics.by_name.get(name));
        topic.iter().flat_map(|topic| &topic.partitions).filter_map(|partition| partition.known_damage()).collect()
    }

    /// Counters and gauges.
    #[must_use]
    pub fn metrics(&self) -> &Arc<LogMetrics> {
        &self.metrics
    }

    /// The limits it was opened with.
    #[must_use]
    pub fn options(&self) -> &LogOptions {
        &self.options
    }

    /// Writes, syncs and answers what is queued, then ends the writing threads; later appends are refused. Blocking.
    pub fn close(&self) {
        for lane in &self.lanes {
            lane.close();
        }
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
    }

    fn partition(&self, id: TopicPartition) -> Result<Arc<Partition>, LogError> {
        let topics = self.topics.read();
        let topic = topics.names.get(&id.topic).and_then(|name| topics.by_name.get(name));
        let partition =
            topic.and_then(|topic| usize::try_from(id.partition).ok().and_then(|number| topic.partitions.get(number)));
        partition.cloned().ok_or(LogError::UnknownPartition(id))
    }

    fn is_pressed(&self) -> bool {
        let unlanded = self.metrics.unlanded_bytes.load(Ordering::Relaxed);
        self.options.unlanded_bytes_max.is_some_and(|max| u64::try_from(unlanded).is_ok_and(|bytes| bytes > max))
    }

    fn relieve(&self) {
        if !self.is_pressed() {
            self.relieved.notify_waiters();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}
