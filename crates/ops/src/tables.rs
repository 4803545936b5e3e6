//! The ops datasets: what they are called, and their contracts, which ship in the binary.
//!
//! Invariant: `rows` fills the columns of a contract in the order in which it lists them.

use std::sync::Arc;

use vitalake_contract::compile::compile;
use vitalake_contract::{Contract, DatasetName, Layer};
use vitalake_lake::TableSpec;

/// A dataset about the platform itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpsTable {
    /// What models did with new rows.
    Runs,
    /// Delta commits.
    Commits,
    /// Rules that were broken or measured, and balances.
    Checks,
    /// What gates decided.
    Gates,
    /// Delivered files.
    Deliveries,
    /// States of alerts.
    Alerts,
    /// Quarantined rows that were given up.
    Discards,
    /// How far datasets are behind.
    Lag,
    /// What processes use.
    Resources,
    /// What the queries of runbooks found when alerts fired.
    Evidence,
    /// Who saw and did what.
    Audit,
}

impl OpsTable {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Runs,
        Self::Commits,
        Self::Checks,
        Self::Gates,
        Self::Deliveries,
        Self::Alerts,
        Self::Discards,
        Self::Lag,
        Self::Resources,
        Self::Evidence,
        Self::Audit,
    ];

    /// Its name, under `ops` in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Commits => "commits",
            Self::Checks => "checks",
            Self::Gates => "gates",
            Self::Deliveries => "deliveries",
            Self::Alerts => "alerts",
            Self::Discards => "discards",
            Self::Lag => "lag",
            Self::Resources => "resources",
            Self::Evidence => "evidence",
            Self::Audit => "audit",
        }
    }

    /// Its contract as the standard has it.
    #[must_use]
    pub fn document(self) -> &'static str {
        match self {
            Self::Runs => include_str!("../contracts/runs.yaml"),
            Self::Commits => include_str!("../contracts/commits.yaml"),
            Self::Checks => include_str!("../contracts/checks.yaml"),
            Self::Gates => include_str!("../contracts/gates.yaml"),
            Self::Deliveries => include_str!("../contracts/deliveries.yaml"),
            Self::Alerts => include_str!("../contracts/alerts.yaml"),
            Self::Discards => include_str!("../contracts/discards.yaml"),
            Self::Lag => include_str!("../contracts/lag.yaml"),
            Self::Resources => include_str!("../contracts/resources.yaml"),
            Self::Evidence => include_str!("../contracts/evidence.yaml"),
            Self::Audit => include_str!("../contracts/audit.yaml"),
        }
    }

    /// Its compiled contract; `None` would be a mistake of ours, which a test finds.
    #[must_use]
    pub fn contract(self) -> Option<Contract> {
        let dataset = DatasetName::new(self.as_str()).ok()?;
        let file = format!("contracts/ops/{dataset}.yaml");
        compile(&file, self.document().as_bytes(), Layer::Ops, &dataset).contract
    }

    /// All of them as a lake makes them.
    #[must_use]
    pub fn specs() -> Vec<TableSpec> {
        Self::ALL.into_iter().filter_map(Self::contract).map(|contract| TableSpec::of(Arc::new(contract))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_ops_contract_compiles_without_a_finding_and_knows_its_time() {
        for table in OpsTable::ALL {
            let dataset = DatasetName::new(table.as_str()).unwrap();
            let compiled = compile("x.yaml", table.document().as_bytes(), Layer::Ops, &dataset);
            assert!(compiled.diagnostics.is_empty(), "{table:?}: {:?}", compiled.diagnostics);
            let contract = compiled.contract.unwrap();
            assert_eq!(contract.columns[contract.time_column.unwrap()].name.as_ref(), "at", "{table:?}");
        }
    }
}
