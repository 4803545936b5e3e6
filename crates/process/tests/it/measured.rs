//! Figures, not checks: `cargo test -p vitalake-process --test it measured -- --ignored --nocapture`.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use vitalake_contract::Layer;
use vitalake_process::AppendPlan;
use vitalake_process::duplicates::RowHasher;
use vitalake_process::rollup::{Leaves, LeavesLimits, RollupPlan};

use crate::support::{STEPS, STEPS_DAILY, batch, longs, model, steps, strings, times};

fn rows(count: i64, seed: i64, subjects: i64, days: i64) -> arrow::array::RecordBatch {
    let mix = |n: i64| ((n + seed * 7919) * 2_654_435_761) & 0x7fff_ffff;
    let names: Vec<String> = (0..count).map(|n| format!("subject-{}", mix(n) % subjects)).collect();
    batch(vec![
        ("subject_id", strings(&names.iter().map(|n| Some(n.as_str())).collect::<Vec<_>>())),
        ("hour", times(&(0..count).map(|n| Some(mix(n + 13) % days * 86_400)).collect::<Vec<_>>())),
        ("steps", longs(&(0..count).map(Some).collect::<Vec<_>>())),
        ("_ingested_at", times(&(0..count).map(Some).collect::<Vec<_>>())),
    ])
}

#[tokio::test]
#[ignore = "prints figures"]
async fn measured() {
    let plan = RollupPlan::compile(&model(Layer::Serving, "steps_daily", STEPS_DAILY), &steps()).await.unwrap();
    let mut leaves = Leaves::new(&plan, LeavesLimits::default(), Vec::new()).unwrap();
    let all = plan.partial(&[rows(400_000, 1, 50_000, 1)]).await.unwrap();
    leaves.missing(&all).unwrap();
    leaves.apply(&all).unwrap();
    leaves.overlay().unwrap();
    println!("groups in the leaf: {}", leaves.rows_in_memory());
    let mut spent = [0.0; 3];
    for seed in 0..200 {
        let input = rows(1000, seed, 50_000, 1);
        let start = Instant::now();
        let partial = plan.partial(&[input]).await.unwrap();
        spent[0] += start.elapsed().as_secs_f64();
        let start = Instant::now();
        leaves.missing(&partial).unwrap();
        leaves.apply(&partial).unwrap();
        spent[1] += start.elapsed().as_secs_f64();
        let start = Instant::now();
        leaves.overlay().unwrap();
        spent[2] += start.elapsed().as_secs_f64();
    }
    let ms = spent.map(|s| s / 200.0 * 1000.0);
    println!("micro-batch of 1000 rows, ms: aggregate {:.3}, merge {:.3}, publish {:.3}", ms[0], ms[1], ms[2]);

    let append = AppendPlan::compile(&model(Layer::Curated, "steps", STEPS), &steps()).await.unwrap();
    let big = rows(65_536, 3, 50_000, 30);
    let hasher = RowHasher::new(vec![0, 1], vec![2]);
    let start = Instant::now();
    let mut made = Vec::new();
    for _ in 0..50 {
        made = append.run(std::slice::from_ref(&big)).await.unwrap();
    }
    println!("append plan, rows/s: {:.0}", 50.0 * 65_536.0 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    for _ in 0..50 {
        hasher.hash(&made[0]).unwrap();
    }
    println!("hashes, rows/s: {:.0}", 50.0 * made[0].num_rows() as f64 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    let small = rows(1000, 5, 100, 1);
    for _ in 0..500 {
        append.run(std::slice::from_ref(&small)).await.unwrap();
    }
    println!("append plan over 1000 rows, ms: {:.3}", start.elapsed().as_secs_f64() * 2.0);
}
