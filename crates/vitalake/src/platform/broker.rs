//! An external broker as a process's intake: its topics found or made, its partitions taken, its changes watched.
//!
//! A process with the role ingest shares the partitions with others of its group; every other role reads them all.
//! Invariant: what the broker changed under us (a topic made anew, a partition added) is said, and then everything
//! begins anew from the tables, which know what has landed.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vitalake_ingest::landing::{Landing, LandingSpec, TopicLanding, transaction_id};
use vitalake_ingest::log::{TopicId, TopicPartition};
use vitalake_ingest::source::SourceError;
use vitalake_ingest::source::kafka::{BrokerOptions, Group, KafkaSource, TopicProblem, TopicState};
use vitalake_lake::Table;
use vitalake_process::sql_rules;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::error::in_full;
use vitalake_runtime::health::{Health, LogThrottle};

use super::intake::{Intake, IntakeContext};
use super::{Outside, Role, Setup};

/// How often topics are looked at for what has changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long a broker that does not answer is left before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How long topics that were just made are left before they are looked for.
const JUST_MADE: Duration = Duration::from_millis(200);
/// How long giving up partitions may take: well within what a group waits for its members.
const GIVE_UP_MAX: Duration = Duration::from_secs(20);

/// A broker that is read from.
#[derive(Debug)]
pub(crate) struct Broker {
    source: Arc<KafkaSource>,
    role: Role,
    outside: Outside,
    clock: Clock,
    topics: BTreeMap<String, TopicState>,
    changed: watch::Sender<bool>,
}

/// The intake from a broker: waits for one that does not answer, and for topics that are missing.
pub(crate) async fn open(context: &IntakeContext<'_>, bootstrap: &str) -> anyhow::Result<Intake> {
    let Setup { config, outside, clock, .. } = context.setup;
    let options = BrokerOptions {
        bootstrap: bootstrap.to_owned(),
        group: config.kafka.group.clone().unwrap_or_else(|| format!("vitalake-{}", config.name)),
        properties: config.kafka.properties.iter().map(|(k, v)| (k.clone(), plain(v))).collect(),
    };
    let source = KafkaSource::connect(options, outside.kafka.clone(), clock.clone())?;
    let streams = context.streams();
    let wanted: Vec<(String, u32)> =
        streams.iter().map(|(topic, partitions, _)| (topic.clone(), *partitions)).collect();
    let topics = find_or_make(&source, &wanted, config.kafka.create_topics, &outside.topics, clock).await?;
    let landing = if context.role == Role::Serve { Landing::Follower } else { Landing::Owner };
    let mut landings = Vec::new();
    for (topic, asked, table) in streams {
        let Some(state) = topics.get(&topic) else { continue };
        if state.partitions < asked {
            tracing::warn!(
                topic,
                have = state.partitions,
                asked,
                "the topic has fewer partitions than its contract asks for"
            );
        }
        let id = identified(&source, &topic, state, &table, outside).await?;
        source.register(id, &topic);
        let sql = sql_rules(table.contract())?;
        let landing = TopicLanding::new(LandingSpec {
            source: Arc::clone(&source) as _,
            table,
            sql,
            topic,
            topic_id: id,
            landing,
            cpu: context.setup.cpu.clone(),
            clock: context.setup.clock.clone(),
        });
        landing.ask_before_commits();
        landings.push(Arc::new(landing));
    }
    let (outside, clock, changed) = (outside.clone(), clock.clone(), watch::channel(false).0);
    let broker = Broker { source, role: context.role, outside, clock, topics, changed };
    Ok(Intake { landings, broker: Some(broker), ..Intake::none() })
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// All topics, made where they are missing and may be. Waits for a broker that is away.
async fn find_or_make(
    source: &Arc<KafkaSource>,
    wanted: &[(String, u32)],
    create: bool,
    missing: &Health,
    clock: &Clock,
) -> anyhow::Result<BTreeMap<String, TopicState>> {
    let mut said = LogThrottle::new(clock.clone());
    loop {
        let waits: Vec<TopicProblem> = match look(source, wanted).await {
            Err(away) => {
                source.health().note(away.to_string());
                vec![away]
            }
            Ok(found) => {
                source.health().answered();
                let lacks: Vec<_> = wanted.iter().filter(|(topic, _)| !found.contains_key(topic)).collect();
                if lacks.is_empty() {
                    missing.answered();
                    return Ok(found);
                }
                let refused = make(source, &lacks, create).await;
                if !refused.is_empty() {
                    missing.note(listed(&refused));
                }
                refused
            }
        };
        if waits.is_empty() {
            // What was just made shows in a moment.
            tokio::time::sleep(JUST_MADE).await;
            continue;
        }
        if let Some(TopicProblem::Client { .. }) = waits.first() {
            anyhow::bail!(listed(&waits));
        }
        if said.is_news(listed(&waits)) {
            waits.iter().for_each(|problem| tracing::warn!("{problem}; waiting for it"));
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Makes topics where that may be; gives what was refused.
async fn make(source: &KafkaSource, lacks: &[&(String, u32)], create: bool) -> Vec<TopicProblem> {
    let mut refused = Vec::new();
    for (topic, partitions) in lacks {
        let made = if create {
            source.create_topic(topic, *partitions).await
        } else {
            Err(source.missing(topic, *partitions, "kafka.create_topics is false".to_owned()))
        };
        refused.extend(made.err());
    }
    refused
}

fn listed(problems: &[TopicProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

async fn look(
    source: &Arc<KafkaSource>,
    wanted: &[(String, u32)],
) -> Result<BTreeMap<String, TopicState>, TopicProblem> {
    let names: Vec<String> = wanted.iter().map(|(topic, _)| topic.clone()).collect();
    let (asking, asked) = (Arc::clone(source), names.clone());
    let looked = tokio::task::spawn_blocking(move || asking.topics(&asked)).await;
    let mut found = looked.map_err(|error| TopicProblem::Client { reason: error.to_string() })??;
    if let Some(ids) = source.topic_ids(&names).await? {
        // One that only one of the two answers has is being made or deleted: it is looked for again.
        found.retain(|name, state| {
            state.id = ids.get(name).copied();
            state.id.is_some()
        });
    }
    Ok(found)
}

/// What the topic is known by; waits for a broker that does not say where it ends.
async fn identified(
    source: &Arc<KafkaSource>,
    name: &str,
    state: &TopicState,
    table: &Arc<Table>,
    outside: &Outside,
) -> anyhow::Result<TopicId> {
    loop {
        let (asking, topic, state) = (Arc::clone(source), name.to_owned(), state.clone());
        let (table, replaced) = (Arc::clone(table), outside.replaced.lock().clone());
        let asked = tokio::task::spawn_blocking(move || {
            let committed = |id: TopicId, partition| table.committed_txn(&transaction_id(id, partition));
            identity(&asking, &topic, &state, committed, &replaced)
        });
        match asked.await? {
            Ok(id) => return Ok(id),
            Err(error) => {
                tracing::warn!(topic = name, error = in_full(&error), "where it ends is not known yet");
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }
}

/// The broker's id of a topic; where it has none, one that changes when the topic was made anew: when its offsets lie
/// before what was committed of it, or when that was seen while it was read.
fn identity(
    source: &KafkaSource,
    name: &str,
    state: &TopicState,
    committed: impl Fn(TopicId, i32) -> Option<i64>,
    replaced: &BTreeSet<TopicId>,
) -> Result<TopicId, SourceError> {
    if let Some(id) = state.id {
        return Ok(TopicId(id));
    }
    let partitions = 0..i32::try_from(state.partitions).unwrap_or(i32::MAX);
    let ends = partitions.map(|p| Ok((p, source.watermarks(name, p)?.1))).collect::<Result<Vec<_>, SourceError>>()?;
    let incarnation = incarnation(&ends, |incarnation| {
        let id = source.made_up_id(name, incarnation);
        (replaced.contains(&id), ends.iter().map(|(p, _)| committed(id, *p)).collect())
    });
    Ok(source.made_up_id(name, incarnation))
}

/// Which of the topics of one name this is, by what is known of each: whether it was replaced, and the last offsets that
/// were committed of it. They have followed each other, so it is the last with commits, or the one after that.
fn incarnation(ends: &[(i32, i64)], known: impl Fn(u32) -> (bool, Vec<Option<i64>>)) -> u32 {
    let (mut number, mut fits) = (0, true);
    loop {
        let (replaced, committed) = known(number);
        if !replaced && committed.iter().all(Option::is_none) {
            // The first of which nothing is known: only needed when the one before is not it.
            return if number > 0 && fits { number - 1 } else { number };
        }
        fits = !replaced && committed.iter().zip(ends).all(|(last, (_, end))| last.is_none_or(|last| last < *end));
        number += 1;
    }
}

impl Broker {
    /// Begins to read. What it gives watches the topics for as long as it runs.
    pub(crate) async fn start(&self, landings: &[Arc<TopicLanding>]) -> anyhow::Result<JoinHandle<()>> {
        if self.role == Role::Ingest {
            let member = Member { landings: landings.to_vec(), runtime: Handle::current() };
            self.source.subscribe(Arc::new(member))?;
        } else {
            self.source.assign(&self.take_all(landings).await)?;
        }
        let watch = Watch {
            source: Arc::clone(&self.source),
            known: self.topics.clone(),
            landings: landings.to_vec(),
            missing: self.outside.topics.clone(),
            said: LogThrottle::new(self.clock.clone()),
        };
        let changed = self.changed.clone();
        Ok(tokio::spawn(async move {
            watch.until_it_changes().await;
            changed.send_replace(true);
        }))
    }

    async fn take_all(&self, landings: &[Arc<TopicLanding>]) -> Vec<(TopicPartition, i64)> {
        let mut starts = Vec::new();
        for landing in landings {
            let partitions = self.topics.get(landing.topic()).map_or(0, |topic| topic.partitions);
            let numbers = 0..i32::try_from(partitions).unwrap_or(i32::MAX);
            let taken = loop {
                match landing.take_partitions(numbers.clone()).await {
                    Ok(taken) => break taken,
                    // A topic that was just made has no leader yet; a broker may be away again.
                    Err(error) => {
                        tracing::warn!(
                            topic = landing.topic(),
                            error = in_full(&error),
                            "its partitions are waited for"
                        );
                        tokio::time::sleep(ASK_AGAIN).await;
                    }
                }
            };
            starts.extend(taken.into_iter().map(|(p, offset)| (TopicPartition::new(landing.topic_id(), p), offset)));
        }
        starts
    }

    pub(crate) async fn must_restart(&self, landings: &[Arc<TopicLanding>]) {
        let mut changed = self.changed.subscribe();
        tokio::select! {
            () = self.source.must_restart() => {}
            _ = changed.wait_for(|changed| *changed) => {}
        }
        let replaced = self.source.replaced_topics();
        let anew = landings.iter().filter(|landing| replaced.contains(&landing.topic_id()));
        anew.for_each(|landing| landing.say_what_is_not_kept());
        self.outside.replaced.lock().extend(replaced);
    }

    pub(crate) fn close(&self) {
        self.source.close();
    }
}

/// Looks at the topics for as long as they are what they were at start.
struct Watch {
    source: Arc<KafkaSource>,
    known: BTreeMap<String, TopicState>,
    landings: Vec<Arc<TopicLanding>>,
    missing: Health,
    said: LogThrottle<Vec<String>>,
}

impl Watch {
    /// Returns when a topic was made anew or has other partitions. One that is gone is said, and waited for.
    async fn until_it_changes(mut self) {
        let wanted: Vec<(String, u32)> =
            self.known.iter().map(|(name, state)| (name.clone(), state.partitions)).collect();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let Ok(now) = look(&self.source, &wanted).await else { continue };
            self.say_what_is_gone(&now);
            if self.differs(&now) {
                return;
            }
        }
    }

    fn say_what_is_gone(&mut self, now: &BTreeMap<String, TopicState>) {
        let gone: Vec<String> = self.known.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
        if gone.is_empty() {
            self.missing.answered();
            return;
        }
        let reason = format!("gone from the broker: {}; what landed stays, nothing new comes", gone.join(", "));
        self.missing.note(reason.clone());
        if self.said.is_news(gone) {
            tracing::warn!("{reason}");
        }
    }

    fn differs(&self, now: &BTreeMap<String, TopicState>) -> bool {
        let mut differs = false;
        for (topic, is) in now {
            let Some(was) = self.known.get(topic) else { continue };
            if is.id != was.id && is.id.is_some() {
                tracing::warn!(
                    topic,
                    "the topic was deleted and made again: it lands from its beginning, under its new id"
                );
                let anew = self.landings.iter().filter(|landing| landing.topic() == topic);
                anew.for_each(|landing| landing.say_what_is_not_kept());
                differs = true;
            } else if is.partitions != was.partitions {
                tracing::info!(
                    topic,
                    was = was.partitions,
                    now = is.partitions,
                    "the topic's partitions have changed: all of them are read"
                );
                differs = true;
            }
        }
        differs
    }
}

/// This process as a member of the consumer group.
struct Member {
    landings: Vec<Arc<TopicLanding>>,
    runtime: Handle,
}

impl Group for Member {
    fn taken(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, Box<dyn Error>> {
        let mut starts = Vec::new();
        for landing in &self.landings {
            let numbers: Vec<i32> =
                partitions.iter().filter(|id| id.topic == landing.topic_id()).map(|id| id.partition).collect();
            // Who had them before may have committed since.
            self.runtime.block_on(landing.table().refresh())?;
            let taken = self.runtime.block_on(landing.take_partitions(numbers))?;
            starts.extend(taken.into_iter().map(|(p, offset)| (TopicPartition::new(landing.topic_id(), p), offset)));
        }
        Ok(starts)
    }

    fn given_up(&self) -> Result<(), Box<dyn Error>> {
        self.runtime.block_on(async {
            let giving = async {
                for landing in &self.landings {
                    landing.give_up_partitions().await?;
                }
                Ok::<_, Box<dyn Error>>(())
            };
            tokio::time::timeout(GIVE_UP_MAX, giving).await?
        })
    }
}

#[cfg(test)]
mod tests;
