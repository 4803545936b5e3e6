//! Whether charts of a Superset show what our own SQL gives.
//!
//! After an import: Superset is asked for each chart's data, our endpoint the same question in SQL of our own. Invariant:
//! what is told names charts and measures, never a value.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;
use vitalake_serve::superset::bundle::AssetKind;
use vitalake_serve::superset::client::{ChartData, Client, Error};
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

/// How many charts are computed at once.
const AT_ONCE: usize = 4;
/// How often both are asked where their answers differ.
const READINGS_MAX: usize = 3;

/// A chart that a dashboard shows, with its question; none where it has none.
struct Asked<'a> {
    chart: &'a Asset,
    dataset: &'a Asset,
    context: Option<Value>,
}

/// Fetches the data of every chart and compares it with a server's, where one answers.
pub(super) fn compare(superset: &Client, assets: &[Asset], there: &There, server: &str) -> Vec<DashboardData> {
    let to = ConnectArgs { server: Some(server.to_owned()), project: None, data: None };
    let ours = client::Client::connect(&to, Purpose::Look).ok();
    let dashboards = assets.iter().filter(|asset| asset.kind == AssetKind::Dashboard);
    let compared = dashboards.map(|dashboard| {
        let asked = charts_of(dashboard, assets, there);
        let mut data =
            DashboardData { dashboard: dashboard.name.clone(), charts: asked.len(), ..DashboardData::default() };
        let fetched = fetch(superset, &asked);
        for (asked, theirs) in asked.iter().zip(fetched) {
            judge(superset, asked, theirs, ours.as_ref(), &mut data);
        }
        if ours.is_none() {
            data.not_compared.push(format!("nothing was compared: no server answers at {server}"));
        }
        data
    });
    compared.collect()
}

fn charts_of<'a>(dashboard: &Asset, assets: &'a [Asset], there: &There) -> Vec<Asked<'a>> {
    let of_kind = |kind| assets.iter().filter(move |asset| asset.kind == kind);
    let pieces = dashboard.body.get("position").and_then(Value::as_object).into_iter().flatten();
    let shown: Vec<Uuid> =
        pieces.filter_map(|(_, piece)| piece.pointer("/meta/uuid")?.as_str()?.parse().ok()).collect();
    let charts = of_kind(AssetKind::Chart).filter(|chart| shown.contains(&chart.uuid));
    let asked = charts.filter_map(|chart| {
        let uuid = chart.body.get("dataset_uuid").and_then(|uuid| uuid.as_str()?.parse::<Uuid>().ok());
        let dataset = of_kind(AssetKind::Dataset).find(|asset| Some(asset.uuid) == uuid)?;
        let context = there.id(AssetKind::Dataset, dataset.uuid).and_then(|id| plain_context(chart, id));
        Some(Asked { chart, dataset, context })
    });
    asked.collect()
}

/// The data of charts in their order, some at once; nothing of a chart without a question.
fn fetch(superset: &Client, asked: &[Asked<'_>]) -> Vec<Option<Result<ChartData, Error>>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((at, asked)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, asked.get(at)?)))
        {
            done.push((at, asked.context.as_ref().map(|context| superset.data(context))));
        }
        done
    };
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, data)| data).collect()
}

fn judge(
    superset: &Client,
    asked: &Asked<'_>,
    theirs: Option<Result<ChartData, Error>>,
    ours: Option<&client::Client>,
    data: &mut DashboardData,
) {
    let name = &asked.chart.name;
    let (Some(theirs), Some(context)) = (theirs, &asked.context) else {
        data.problems.push(format!("{name}: it has no question"));
        return;
    };
    let mut theirs = match theirs {
        Ok(theirs) => theirs,
        Err(error) => {
            data.problems.push(format!("{name}: {error}"));
            return;
        }
    };
    data.fetched += 1;
    let Some(ours) = ours else { return };
    for readings_left in (0..READINGS_MAX).rev() {
        match compared(asked, context, &theirs, ours) {
            Compared::Same => data.same += 1,
            Compared::Not(why) => data.not_compared.push(format!("{name}: {why}")),
            Compared::Differs(why) => {
                // A version may have been published between the two answers.
                if let Some(again) = (readings_left > 0).then(|| superset.data(context).ok()).flatten() {
                    theirs = again;
                    continue;
                }
                data.problems.push(format!("{name}: {why}"));
            }
        }
        return;
    }
}

enum Compared {
    Same,
    Not(&'static str),
    Differs(String),
}

fn compared(asked: &Asked<'_>, context: &Value, theirs: &ChartData, ours: &client::Client) -> Compared {
    let Some(question) = question(context, asked.dataset, theirs) else {
        return Compared::Not("its question is not put into SQL here");
    };
    let Ok(answer) = ours.query(&question.sql) else {
        return Compared::Not("the server at hand does not answer its question");
    };
    same(&question, &theirs.rows, &answer.rows).map_or_else(Compared::Differs, |()| Compared::Same)
}
