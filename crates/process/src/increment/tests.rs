//! What is left of a change is the difference of its sides, whatever the pieces.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, StringViewArray};
use arrow::datatypes::Int64Type;
use object_store::memory::InMemory;
use proptest::prelude::*;
use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Layer, Source};
use vitalake_lake::{Lake, LakeOptions, TableSpec};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;

use super::*;

/// Value, partition and offset.
type Row = (i64, i32, i64);

async fn lake() -> Lake {
    let column = Column::new("v", ColumnType::Long);
    let contract = Contract {
        columns: vec![column],
        source: Some(Source::Feed),
        ..Contract::new(DatasetName::new("visits").unwrap(), Layer::Raw)
    };
    let specs = vec![TableSpec::of(Arc::new(contract))];
    let cpu = Cpu::with_workers(1).unwrap();
    Lake::open(Arc::new(InMemory::new()), specs, LakeOptions::default(), Clock::system(), cpu).await.unwrap()
}

fn batch(table: &Table, rows: &[Row]) -> RecordBatch {
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "v" => Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
            "_topic" => Arc::new(StringViewArray::from(vec!["feed/visits"; rows.len()])),
            "_partition" => Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Int32Array>()),
            "_offset" => Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>()),
            _ => arrow::array::new_null_array(field.data_type(), rows.len()),
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

fn counted(batches: &[RecordBatch], by: i64, into: &mut BTreeMap<i64, i64>) {
    for batch in batches {
        for value in batch.column_by_name("v").unwrap().as_primitive::<Int64Type>().values() {
            *into.entry(*value).or_default() += by;
        }
    }
}

fn files_of_rows() -> impl Strategy<Value = Vec<Vec<Row>>> {
    prop::collection::vec(prop::collection::vec((0..6_i64, 0..3_i32, 0..40_i64), 1..12), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_left_is_the_difference(
        removed in files_of_rows(), added in files_of_rows(), by_place in any::<bool>(), passes in 1..4_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lake = lake().await;
            let table = lake.tables().next().unwrap();
            let mut increment = Increment::default();
            for (rows, files) in removed.iter().map(|rows| (rows, true)).chain(added.iter().map(|rows| (rows, false))) {
                let written = table.write_rows(vec![batch(table, rows)]).await.unwrap();
                if files { increment.removed.extend(written) } else { increment.files.extend(written) }
            }
            let columns: &[&str] = if by_place { &["v", "_partition", "_offset"] } else { &["v"] };
            let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
            let mut signed = SignedIncrement::of(table, &increment, &columns);
            signed.parts.iter_mut().for_each(|part| part.passes = passes);
            let (mut got, mut want, mut both) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
            while let Some(piece) = signed.next().await.unwrap() {
                counted(&piece.retracted, -1, &mut got);
                counted(&piece.added, 1, &mut got);
                both.push(piece);
            }
            removed.iter().flatten().for_each(|row| *want.entry(row.0).or_default() -= 1);
            added.iter().flatten().for_each(|row| *want.entry(row.0).or_default() += 1);
            let left = |counts: &BTreeMap<i64, i64>| counts.iter().filter(|(_, n)| **n != 0).map(|(v, n)| (*v, *n)).collect::<Vec<_>>();
            prop_assert_eq!(left(&got), left(&want));
            if !by_place {
                let rows = |batches: &[RecordBatch]| batches.iter().map(|b| b.num_rows() as i64).sum::<i64>();
                let given: i64 = both.iter().map(|piece| rows(&piece.retracted) + rows(&piece.added)).sum();
                // Nothing is given on both sides.
                prop_assert_eq!(given, want.values().map(|n: &i64| n.abs()).sum::<i64>());
            }
            Ok(())
        })?;
    }
}
