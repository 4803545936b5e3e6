//! Erasures as HTTP asks for them: kept, then the life ends, and the answer comes with the receipt.
//!
//! Invariant: a request that was answered is durable; one whose client has gone is carried out all the same.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use vitalake_ops::erasures::{EraseRequest, Receipt};
use vitalake_serve::platform::{ApiError, Erasures, Subjects};

use super::{ask, plan, receipt, refusal, subjects_of};
use crate::platform::{Platform, Setup};

/// How many erasures were asked for, and how often those that were due were carried out.
#[derive(Debug, Default)]
pub(in crate::platform) struct ErasuresAsked {
    asked: watch::Sender<u64>,
    carried_out: watch::Sender<u64>,
}

impl ErasuresAsked {
    /// Waits until one is asked for that is not carried out.
    pub(in crate::platform) async fn asked(&self) {
        let done = *self.carried_out.borrow();
        let _ = self.asked.subscribe().wait_for(|asked| *asked > done).await;
    }

    /// How many were asked for until now.
    pub(in crate::platform) fn until_now(&self) -> u64 {
        *self.asked.borrow()
    }

    /// So many of those that were asked for are carried out.
    pub(in crate::platform) fn carried_out(&self, asked: u64) {
        self.carried_out.send_replace(asked);
    }

    /// Asks for one, and waits until it was carried out.
    async fn ask(&self) {
        let mut done = self.carried_out.subscribe();
        let mut number = 0;
        self.asked.send_modify(|asked| {
            *asked += 1;
            number = *asked;
        });
        let _ = done.wait_for(|done| *done >= number).await;
    }
}

/// Takes requests for erasures.
#[derive(Debug)]
pub(in crate::platform) struct EraseDesk {
    setup: Setup,
    platform: Arc<Platform>,
}

impl EraseDesk {
    pub(in crate::platform) fn new(setup: &Setup, platform: &Arc<Platform>) -> Self {
        Self { setup: setup.clone(), platform: Arc::clone(platform) }
    }
}

#[async_trait]
impl Erasures for EraseDesk {
    async fn erase(&self, request: EraseRequest) -> Result<Receipt, ApiError> {
        if let Some(why) = refusal(&self.setup, self.platform.role(), &request) {
            return Err(ApiError::Invalid(why));
        }
        let failed = |error: anyhow::Error| ApiError::Unavailable(format!("{error:#}"));
        if request.dry_run {
            let life = self.platform.living()?;
            let store = Arc::clone(life.lake().store());
            return Box::pin(plan(&self.setup, &request, store)).await.map_err(failed);
        }
        let asked = ask(&self.setup, &request).map_err(failed)?;
        self.platform.erasures().ask().await;
        receipt(&self.setup, asked.number).map_err(failed)
    }

    fn subjects(&self, subject: &str) -> Option<Subjects> {
        subjects_of(&self.setup, subject)
    }
}
