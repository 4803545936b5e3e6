//! Whether charts of a Superset show what our own SQL gives.
//!
//! After an import: Superset is asked for each chart's data, our endpoint the same question in SQL of our own. Invariant:
//! what is told names charts and measures, never a value.

use serde::Serialize;
use uuid::Uuid;
use vitalake_serve::superset::bundle::AssetKind;
use vitalake_serve::superset::client::Client;
use vitalake_serve::superset::plan::{Asset, There};
use vitalake_serve::superset::question::{plain_context, question, same};

use crate::cli::ConnectArgs;
use crate::client;
use crate::local::Purpose;

/// What came of a dashboard's charts.
#[derive(Debug, Default, Serialize)]
pub(super) struct DashboardData {
    /// Its title.
    pub(super) dashboard: String,
    /// How many charts it shows.
    pub(super) charts: usize,
    /// Of how many Superset gave the data.
    pub(super) fetched: usize,
    /// How many of these are the same as our own answer.
    pub(super) same: usize,
    /// Charts that could not be compared, and why.
    pub(super) not_compared: Vec<String>,
    /// Charts without data, or with another than our own.
    pub(super) problems: Vec<String>,
}

/// Fetches the data of every chart and compares it with a server's, where one answers.
pub(super) fn compare(superset: &Client, assets: &[Asset], there: &There, server: &str) -> Vec<DashboardData> {
    let to = ConnectArgs { server: Some(server.to_owned()), project: None, data: None };
    let ours = client::Client::connect(&to, Purpose::Look).ok();
    let of_kind = |kind| assets.iter().filter(move |asset| asset.kind == kind);
    let mut all = Vec::new();
    for dashboard in of_kind(AssetKind::Dashboard) {
        let pieces = dashboard.body.get("position").and_then(serde_json::Value::as_object).into_iter().flatten();
        let shown: Vec<Uuid> =
            pieces.filter_map(|(_, piece)| piece.pointer("/meta/uuid")?.as_str()?.parse().ok()).collect();
        let mut data = DashboardData { dashboard: dashboard.name.clone(), ..DashboardData::default() };
        for chart in of_kind(AssetKind::Chart).filter(|chart| shown.contains(&chart.uuid)) {
            data.charts += 1;
            let dataset = chart.body.get("dataset_uuid").and_then(|uuid| uuid.as_str()?.parse::<Uuid>().ok());
            let dataset = of_kind(AssetKind::Dataset).find(|asset| Some(asset.uuid) == dataset);
            if let Some(dataset) = dataset {
                one(superset, ours.as_ref(), (chart, dataset, there), &mut data);
            }
        }
        if ours.is_none() {
            data.not_compared.push(format!("nothing was compared: no server answers at {server}"));
        }
        all.push(data);
    }
    all
}

fn one(
    superset: &Client,
    ours: Option<&client::Client>,
    (chart, dataset, there): (&Asset, &Asset, &There),
    data: &mut DashboardData,
) {
    let context = there.id(AssetKind::Dataset, dataset.uuid).and_then(|id| plain_context(chart, id));
    let Some(context) = context else {
        data.problems.push(format!("{}: it has no question", chart.name));
        return;
    };
    let theirs = match superset.data(&context) {
        Ok(theirs) => theirs,
        Err(error) => {
            data.problems.push(format!("{}: {error}", chart.name));
            return;
        }
    };
    data.fetched += 1;
    let Some(ours) = ours else { return };
    let Some(question) = question(&context, dataset, &theirs) else {
        data.not_compared.push(format!("{}: its question is not put into SQL here", chart.name));
        return;
    };
    match ours.query(&question.sql) {
        Ok(answer) => match same(&question, &theirs.rows, &answer.rows) {
            Ok(()) => data.same += 1,
            Err(why) => data.problems.push(format!("{}: {why}", chart.name)),
        },
        Err(_) => data.not_compared.push(format!("{}: the server at hand does not answer its question", chart.name)),
    }
}
