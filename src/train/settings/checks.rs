//! Which values of the settings make sense.

use super::{LoopTransSettings, MAX_THREADS, Settings, SettingsError};
use crate::train::{loss_report::System, losses, optimizer::Sgd};

/// (key, does its value make sense, what would, its value)
type Check = (&'static str, bool, &'static str, String);

impl Settings {
    /// Do they make sense?
    ///
    /// # Errors
    /// The first value that does not; `origin`: where that of a key was read.
    pub(in crate::train) fn check<'a>(&self, origin: impl Fn(&str) -> &'a str) -> Result<(), SettingsError> {
        let own = [self.looptrans.is_some(), self.locate.is_some(), self.wsma.is_some()];
        let fits = own == [System::LoopTrans, System::Locate, System::Wsma].map(|system| system == self.system);
        let mut checks = self.of_any_system();
        checks.push(("system", fits, "the settings of that network and no other", format!("{:?}", self.system)));
        if let Some(own) = &self.looptrans {
            checks.extend(of_looptrans(own));
        }
        if let Some(own) = &self.locate {
            let losses::locate::Weights { cls, proto, con } = own.weights;
            checks.extend([
                at_least_0("locate.weights.cls", cls),
                at_least_0("locate.weights.proto", proto),
                at_least_0("locate.weights.con", con),
            ]);
        }
        if let Some(own) = &self.wsma {
            // Its patches are normalised over all samples that are computed together.
            let parts = self.accumulation;
            checks.push(("accumulation", parts == 1, "1, as WSMA's losses are of a whole batch", parts.to_string()));
            let losses::wsma::Weights { cls, d, lrela, clip } = own.weights;
            checks.extend([
                at_least_0("wsma.weights.cls", cls),
                at_least_0("wsma.weights.d", d),
                at_least_0("wsma.weights.lrela", lrela),
                at_least_0("wsma.weights.clip", clip),
            ]);
        }
        match checks.into_iter().find(|(_, holds, ..)| !holds) {
            None => Ok(()),
            Some((key, _, expected, found)) => Err(SettingsError::Value {
                origin: origin(key).to_owned(),
                key: key.to_owned(),
                cause: format!("expected {expected}, found {found}"),
            }),
        }
    }

    fn of_any_system(&self) -> Vec<Check> {
        let Sgd { lr, momentum, weight_decay, bias_factor, fc_factor, gamma, step_epochs, nesterov: _ } =
            self.optimizer;
        let enlarged = self.augmentation.enlarged;
        vec![
            at_least_1("epochs", self.epochs),
            at_least_1("batch", self.batch as u64),
            at_least_1("accumulation", self.accumulation as u64),
            at_least_1("save_every_steps", self.save_every_steps),
            at_least_1("optimizer.step_epochs", step_epochs),
            ("accumulation", self.accumulation <= self.batch, "at most the batch", self.accumulation.to_string()),
            ("threads", self.threads <= MAX_THREADS, "at most 1024", self.threads.to_string()),
            above_0("optimizer.lr", lr),
            below_1("optimizer.momentum", momentum),
            at_least_0("optimizer.weight_decay", weight_decay),
            above_0("optimizer.bias_factor", bias_factor),
            above_0("optimizer.fc_factor", fc_factor),
            ("optimizer.gamma", gamma > 0.0 && gamma <= 1.0, "above 0, at most 1", gamma.to_string()),
            ("augmentation.enlarged", (1.0..=4.0).contains(&enlarged), "1 to 4", enlarged.to_string()),
        ]
    }
}

fn of_looptrans(own: &LoopTransSettings) -> Vec<Check> {
    let heads = own.noise_heads;
    let losses::looptrans::Weights { cls, mse, dice, corr, dill, con } = own.weights;
    vec![
        ("looptrans.noise_heads", heads <= 4096, "at most 4096", heads.to_string()),
        ("looptrans.parts", (1..=64).contains(&own.parts), "1 to 64", own.parts.to_string()),
        below_1("looptrans.options.fg_threshold", own.options.fg_threshold),
        at_least_0("looptrans.weights.cls", cls),
        at_least_0("looptrans.weights.mse", mse),
        at_least_0("looptrans.weights.dice", dice),
        at_least_0("looptrans.weights.corr", corr),
        at_least_0("looptrans.weights.dill", dill),
        at_least_0("looptrans.weights.con", con),
    ]
}

fn at_least_1(key: &'static str, value: u64) -> Check {
    (key, value >= 1, "at least 1", value.to_string())
}

// What follows is written so that NaN fails.

fn at_least_0(key: &'static str, value: f64) -> Check {
    (key, value >= 0.0 && value.is_finite(), "finite, at least 0", value.to_string())
}

fn above_0(key: &'static str, value: f64) -> Check {
    (key, value > 0.0 && value.is_finite(), "finite, above 0", value.to_string())
}

fn below_1(key: &'static str, value: f64) -> Check {
    (key, (0.0..1.0).contains(&value), "at least 0, below 1", value.to_string())
}
