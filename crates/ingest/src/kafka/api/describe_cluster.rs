//! DescribeCluster: the one broker.

use std::sync::Arc;

use futures::future::BoxFuture;
use kafka_protocol::messages::DescribeClusterResponse;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::protocol::StrBytes;

use super::{CLUSTER_ID, Call, Context, NODE_ID, Outcome, RequestError};

pub(super) fn begin(context: &Arc<Context>, call: Call) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let broker =
        DescribeClusterBroker::default().with_broker_id(NODE_ID).with_host(context.host()).with_port(context.port());
    let body = DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_static_str(CLUSTER_ID))
        .with_controller_id(NODE_ID)
        .with_brokers(vec![broker]);
    call.ready(&body)
}
