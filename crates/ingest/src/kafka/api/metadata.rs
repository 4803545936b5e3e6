//! Metadata: the one broker, and the topics that contracts name and the client may send to or read. Nothing is made on
//! demand.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use kafka_protocol::messages::MetadataResponse;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{CLUSTER_ID, Call, Context, NODE_ID, Outcome, RequestError};
use crate::kafka::error::{TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION};
use crate::kafka::wire::{Reader, WireError};
use crate::log::{TopicId, TopicInfo};

/// A topic as a client asks for it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Name(String),
    Id(Uuid),
}

pub(super) fn begin(
    context: &Arc<Context>,
    call: Call,
    reader: &mut Reader,
) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let asked = reader.list(2, |reader| asked(reader, call.version))?;
    let everything = match &asked {
        None => true,
        Some(asked) => call.version == 0 && asked.is_empty(),
    };
    let topics = if everything {
        let topics = context.log().topics();
        let seen = topics.iter().filter(|info| info.active && context.sees(&info.name));
        seen.map(|info| known(info, call.version)).collect()
    } else {
        // Each is answered once, however often it is asked for.
        let asked: BTreeSet<Asked> = asked.unwrap_or_default().into_iter().collect();
        asked.into_iter().map(|asked| answer(context, asked, call.version)).collect()
    };
    let broker =
        MetadataResponseBroker::default().with_node_id(NODE_ID).with_host(context.host()).with_port(context.port());
    let mut body = MetadataResponse::default().with_brokers(vec![broker]).with_topics(topics);
    if call.version >= 1 {
        body = body.with_controller_id(NODE_ID);
    }
    if call.version >= 2 {
        body = body.with_cluster_id(Some(StrBytes::from_static_str(CLUSTER_ID)));
    }
    call.ready(&body)
}

fn asked(reader: &mut Reader, version: i16) -> Result<Asked, WireError> {
    let id = if version >= 10 { reader.uuid()? } else { Uuid::nil() };
    let name = reader.string()?;
    reader.tags()?;
    Ok(name.map_or(Asked::Id(id), Asked::Name))
}

fn answer(context: &Context, asked: Asked, version: i16) -> MetadataResponseTopic {
    let found = match &asked {
        Asked::Name(name) => context.log().topic(name),
        Asked::Id(id) => context.log().topic_by_id(TopicId(*id)),
    };
    match (found.filter(|info| info.active), asked) {
        (Some(info), _) if context.sees(&info.name) => known(&info, version),
        // Who asks by name is told that there is nothing for him, as by a request of records.
        (Some(info), Asked::Name(name)) => {
            context.asks(&info.name);
            MetadataResponseTopic::default()
                .with_error_code(TOPIC_AUTHORIZATION_FAILED)
                .with_name(Some(StrBytes::from_string(name).into()))
        }
        (None, Asked::Name(name)) => MetadataResponseTopic::default()
            .with_error_code(UNKNOWN_TOPIC_OR_PARTITION)
            .with_name(Some(StrBytes::from_string(name).into())),
        (_, Asked::Id(id)) => {
            let name = (version < 12).then(|| StrBytes::from_static_str("").into());
            MetadataResponseTopic::default().with_error_code(UNKNOWN_TOPIC_ID).with_topic_id(id).with_name(name)
        }
    }
}

fn known(info: &TopicInfo, version: i16) -> MetadataResponseTopic {
    let partitions = (0..i32::try_from(info.partitions).unwrap_or(i32::MAX)).map(|number| {
        let partition = MetadataResponsePartition::default()
            .with_partition_index(number)
            .with_leader_id(NODE_ID)
            .with_replica_nodes(vec![NODE_ID])
            .with_isr_nodes(vec![NODE_ID]);
        if version >= 7 { partition.with_leader_epoch(0) } else { partition }
    });
    let topic = MetadataResponseTopic::default()
        .with_name(Some(StrBytes::from_string(info.name.clone()).into()))
        .with_partitions(partitions.collect());
    if version >= 10 { topic.with_topic_id(info.id.0) } else { topic }
}
