//! Everything that decides a training step: one struct for recipes, run configurations and the step.

use crate::adaptive::AdaptiveProbability;
use crate::augmentation::Augmentation;
use crate::error::{Error, Result};
use crate::losses::{GanLoss, R1Penalty};
use gan_kernels::Adam;
use serde::{Deserialize, Serialize};

/// The settings of a training step.
///
/// Keys that a file leaves out have the value that runs had before the key existed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Hyperparameters {
    /// Images in a batch.
    pub batch_size: usize,
    /// Equal parts of a batch, K, whose losses and gradients are computed one after the other or by
    /// several ranks ([`crate::Communicator`]). It bounds memory, since the activations of one part
    /// are kept at a time, those of all where an update can be skipped. It decides the bytes of a run,
    /// which the number of ranks does not: every part has random numbers of its own, and gradients are
    /// summed in the order of the parts.
    /// Batch statistics are those of a part, and running statistics the mean of what the parts leave.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub micro_batches: usize,
    /// The order in which the two networks are updated.
    pub update: UpdateScheme,
    /// The objective of the two networks.
    #[serde(default)]
    pub loss: GanLoss,
    /// Target of real images in losses that have targets: 1, or a little less (one-sided label
    /// smoothing, Salimans et al. 2016).
    pub real_label: f64,
    /// Regularisation of the discriminator.
    #[serde(default)]
    pub regularization: Regularization,
    /// Decay of the EMA of the generator's parameters, per step, in [0, 1); 0 for no averaging.
    pub ema_decay: f64,
    /// Decay of the learning rates; none keeps them.
    #[serde(default)]
    pub lr_decay: Option<LinearDecay>,
    /// Layers of the discriminator whose weights are not updated, for fine-tuning to a small set (Mo
    /// et al. 2020, "Freeze the discriminator"). They are counted from the image, activations and
    /// normalisations included; running statistics go on.
    #[serde(default)]
    pub frozen_layers: usize,
    /// Steps over which learning rates and gammas decay and instance noise fades. Where it is 0, none
    /// of them changes; the trainer puts the recipe's own length there.
    #[serde(default)]
    pub schedule_steps: u64,
    /// The generator's optimizer.
    pub generator_adam: AdamConfig,
    /// The discriminator's optimizer.
    pub discriminator_adam: AdamConfig,
}

/// The order in which the two networks are updated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UpdateScheme {
    /// The discriminator is updated on real and fake images; then the generator is updated on
    /// fresh latents against the updated discriminator.
    Alternating,
    /// Both networks are updated from one pass over the same real and fake images (Shen et al.
    /// 2021).
    Simultaneous,
    /// The discriminator is updated on real images, then on fakes; then the generator is updated on
    /// fresh latents.
    Separate(SeparateUpdates),
}

/// Settings of [`UpdateScheme::Separate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeparateUpdates {
    /// Whether the discriminator sees half a batch of real images and half a batch of fakes.
    pub half_batches: bool,
    /// Losses at or below which an update is skipped.
    #[serde(alias = "only_above")]
    pub skip_if_loss_below: LossThresholds,
}

/// A threshold for each of three updates; an update without one is never skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossThresholds {
    /// For the discriminator on real images.
    pub real: Option<f32>,
    /// For the discriminator on fakes.
    pub fake: Option<f32>,
    /// For the generator.
    pub generator: Option<f32>,
}

/// Regularisation of the discriminator; all of it is off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Regularization {
    /// Gamma of the R1 penalty, gamma / 2 times the mean squared norm of the discriminator's
    /// gradient at real images, estimated by finite differences ([`crate::R1Penalty`]).
    #[serde(alias = "gradient_penalty")]
    pub r1_gamma: f64,
    /// Gamma of the R2 penalty, the same at fakes.
    pub r2_gamma: f64,
    /// Decay of both gammas; none keeps them.
    pub gamma_decay: Option<LinearDecay>,
    /// Largest spectral norm of each weight ([`crate::bound_spectral_norms`]); 0 for no bound.
    pub spectral_norm: f64,
    /// Augmentation of the images that the discriminator sees.
    pub augmentation: Augmentation,
}

impl Regularization {
    /// The R1 and R2 penalties when this fraction of the schedule is done.
    pub(crate) fn penalties(&self, done: f64) -> (R1Penalty, R1Penalty) {
        let factor = self.gamma_decay.map_or(1.0, |decay| decay.factor(done));
        let penalty = |gamma: f64| R1Penalty { gamma: gamma * factor, std: R1Penalty::STD };
        (penalty(self.r1_gamma), penalty(self.r2_gamma))
    }
}

/// A linear decay over the last part of the schedule, of learning rates or of gammas. They stay at
/// their final value when training goes on beyond it, so a shorter run is the beginning of a longer
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearDecay {
    /// Fraction of the schedule after which the decay begins, in [0, 1).
    #[serde(alias = "from")]
    pub start: f64,
    /// Final value as a fraction of the full one, in (0, 1].
    #[serde(alias = "to")]
    pub final_factor: f64,
}

impl LinearDecay {
    /// The factor on the full value when this fraction of the schedule is done.
    pub fn factor(self, done: f64) -> f64 {
        let fallen = ((done - self.start) / (1.0 - self.start)).clamp(0.0, 1.0);
        1.0 - fallen * (1.0 - self.final_factor)
    }

    fn check(self, key: &str) -> Result<()> {
        let Self { start, final_factor } = self;
        let right = (0.0..1.0).contains(&start) && final_factor > 0.0 && final_factor <= 1.0;
        require(right, || {
            format!(
                "{key}: start {start} must be at least 0 and below 1, final_factor \
                 {final_factor} above 0 and at most 1"
            )
        })
    }
}

/// Settings of Adam, without weight decay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
}

impl AdamConfig {
    /// The update rule with these settings and epsilon 1e-8.
    pub fn adam(self) -> Adam {
        let Self { lr, beta1, beta2 } = self;
        Adam { learning_rate: lr, beta1, beta2, epsilon: 1e-8 }
    }
}

fn one() -> usize {
    1
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

impl Hyperparameters {
    /// The fraction of the schedule that is done after `step` steps; beyond 1 where training goes on.
    pub(crate) fn done(&self, step: u64) -> f64 {
        if self.schedule_steps == 0 { 0.0 } else { step as f64 / self.schedule_steps as f64 }
    }

    /// Checks all values, and that augmentation leaves something of images of this height and width.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`] names the first value that is out of range and the range.
    pub fn check(&self, (height, width): (usize, usize)) -> Result<()> {
        require(self.batch_size > 0, || "batch_size 0 must be at least 1".to_string())?;
        self.check_micro_batches()?;
        if let UpdateScheme::Separate(separate) = self.update {
            self.check_separate(separate)?;
        }
        let label = self.real_label;
        require(label > 0.0 && label <= 1.0, || {
            format!("real_label {label} must be above 0 and at most 1")
        })?;
        require(label == 1.0 || self.loss.has_labels(), || {
            format!("real_label {label}: this loss has no labels to smooth; leave it at 1")
        })?;
        let decay = self.ema_decay;
        require((0.0..1.0).contains(&decay), || {
            format!("ema_decay {decay} must be at least 0 and below 1")
        })?;
        let decays =
            [("lr_decay", self.lr_decay), ("gamma_decay", self.regularization.gamma_decay)];
        for (key, decay) in decays {
            decay.map_or(Ok(()), |decay| decay.check(key))?;
        }
        self.generator_adam.check("generator_adam")?;
        self.discriminator_adam.check("discriminator_adam")?;
        self.check_regularization((height, width))
    }

    /// Checks that a batch can be dealt to micro-batches.
    pub(crate) fn check_micro_batches(&self) -> Result<()> {
        let Self { batch_size, micro_batches, .. } = *self;
        require(micro_batches > 0 && batch_size.is_multiple_of(micro_batches), || {
            format!(
                "micro_batches {micro_batches}: batch size {batch_size} must divide into so many \
                 equal parts; --micro-batches {} fits",
                greatest_common_divisor(batch_size, micro_batches.max(1))
            )
        })
    }

    /// Images of a micro-batch.
    pub fn micro_batch_size(&self) -> usize {
        self.batch_size / self.micro_batches.max(1)
    }

    /// Images whose activations are kept at a time, on one rank: those of a micro-batch, or of all where
    /// the loss on all decides whether there is an update.
    pub fn images_in_memory(&self) -> usize {
        match self.update {
            UpdateScheme::Separate(separate)
                if separate.skip_if_loss_below != LossThresholds::default() =>
            {
                self.batch_size
            }
            _ => self.micro_batch_size(),
        }
    }

    fn check_separate(&self, separate: SeparateUpdates) -> Result<()> {
        let LossThresholds { real, fake, generator } = separate.skip_if_loss_below;
        for threshold in [real, fake, generator].into_iter().flatten() {
            require(threshold.is_finite(), || {
                format!("skip_if_loss_below: {threshold} must be finite")
            })?;
        }
        require(self.micro_batch_size() > 1 || !separate.half_batches, || {
            let batch_size = self.batch_size;
            format!(
                "batch_size {batch_size}: half_batches needs at least 2 images in a micro-batch to \
                 halve"
            )
        })?;
        let Regularization { r1_gamma, r2_gamma, .. } = self.regularization;
        require(r1_gamma == 0.0 && r2_gamma == 0.0, || {
            "r1_gamma and r2_gamma need updates on real and fake images together; with \"separate\" \
             updates, leave them at 0"
                .to_string()
        })?;
        require(!self.loss.is_relative(), || {
            "loss: the relativistic loss compares real and fake images, which \"separate\" updates do \
             not show together; choose update = \"simultaneous\" or \"alternating\""
                .to_string()
        })
    }

    fn check_regularization(&self, (height, width): (usize, usize)) -> Result<()> {
        let Regularization { r1_gamma, r2_gamma, spectral_norm, augmentation, .. } =
            self.regularization;
        let Augmentation { translation, cutout, noise, adaptive, .. } = augmentation;
        if let Some(AdaptiveProbability { target, images }) = adaptive {
            require(target > -1.0 && target < 1.0 && images > 0, || {
                format!(
                    "adaptive: target {target} must be above -1 and below 1, images {images} above 0"
                )
            })?;
            require(augmentation.changes_images(), || {
                "adaptive: is the probability of colour, flip, translation and cutout, of which none \
                 is on"
                    .to_string()
            })?;
            require(self.loss != GanLoss::Wasserstein, || {
                "adaptive: the Wasserstein loss has no value that divides real from fake; choose \
                 another loss"
                    .to_string()
            })?;
        }
        let is_regularised = r1_gamma + r2_gamma + spectral_norm > 0.0;
        require(self.loss != GanLoss::Wasserstein || is_regularised, || {
            "loss: the Wasserstein loss needs a regularised discriminator: r1_gamma or spectral_norm \
             above 0"
                .to_string()
        })?;
        require(!self.loss.is_relative() || r1_gamma + r2_gamma > 0.0, || {
            "loss: the relativistic loss needs a regularised discriminator: r1_gamma or r2_gamma \
             above 0"
                .to_string()
        })?;
        let strengths = [
            ("r1_gamma", r1_gamma),
            ("r2_gamma", r2_gamma),
            ("spectral_norm", spectral_norm),
            ("noise", noise.into()),
        ];
        for (name, value) in strengths {
            require(value >= 0.0 && value.is_finite(), || {
                format!("{name} {value} must be at least 0 and finite")
            })?;
        }
        let side = height.min(width);
        require(translation < side && cutout < side, || {
            format!(
                "translation {translation} and cutout {cutout} must be below the images' {side} \
                 pixels"
            )
        })
    }
}

impl AdamConfig {
    fn check(self, table: &str) -> Result<()> {
        let Self { lr, beta1, beta2 } = self;
        require(lr > 0.0 && lr.is_finite(), || {
            format!("{table}: lr {lr} must be above 0 and finite")
        })?;
        require([beta1, beta2].iter().all(|beta| (0.0..1.0).contains(beta)), || {
            format!("{table}: beta1 {beta1} and beta2 {beta2} must be at least 0 and below 1")
        })
    }
}

fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn require(holds: bool, text: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Hyperparameter(text())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_fall_on_a_straight_line_and_stay() {
        let decay = LinearDecay { start: 0.5, final_factor: 0.2 };
        let factors = [0.0, 0.5, 0.75, 1.0, 4.0].map(|done| decay.factor(done));
        for (factor, want) in factors.into_iter().zip([1.0, 1.0, 0.6, 0.2, 0.2]) {
            assert!((factor - want).abs() < 1e-12, "{factor}, not {want}");
        }
    }

    fn hyperparameters() -> Hyperparameters {
        let adam = AdamConfig { lr: 1e-3, beta1: 0.5, beta2: 0.999 };
        Hyperparameters {
            batch_size: 4,
            micro_batches: 1,
            update: UpdateScheme::Simultaneous,
            loss: GanLoss::NonSaturating,
            real_label: 1.0,
            regularization: Regularization::default(),
            ema_decay: 0.99,
            lr_decay: None,
            frozen_layers: 0,
            schedule_steps: 0,
            generator_adam: adam,
            discriminator_adam: adam,
        }
    }

    #[test]
    fn each_value_out_of_range_is_named() {
        let good = hyperparameters();
        good.check((28, 28)).expect("all in range");
        type Change = fn(&mut Hyperparameters);
        let separate: Change = |h| {
            h.update = UpdateScheme::Separate(SeparateUpdates::default());
            h.regularization.r1_gamma = 1.0;
        };
        let nothing: Change = |h| {
            let adaptive = AdaptiveProbability { target: 0.6, images: 9 };
            h.regularization.augmentation.adaptive = Some(adaptive);
        };
        let target: Change = |h| {
            let adaptive = AdaptiveProbability { target: 1.0, images: 9 };
            h.regularization.augmentation.adaptive = Some(adaptive);
        };
        let cases: [(Change, &str); 16] = [
            (
                nothing,
                "adaptive: is the probability of colour, flip, translation and cutout, of which",
            ),
            (target, "adaptive: target 1 must be above -1 and below 1"),
            (|h| h.batch_size = 0, "batch_size 0 must be at least 1"),
            (
                |h| (h.batch_size, h.micro_batches) = (32, 12),
                "micro_batches 12: batch size 32 must divide into so many equal parts; \
                 --micro-batches 4 fits",
            ),
            (|h| h.micro_batches = 0, "micro_batches 0: "),
            (|h| h.real_label = 1.5, "real_label 1.5 must be above 0 and at most 1"),
            (|h| h.ema_decay = 1.0, "ema_decay 1 must be at least 0 and below 1"),
            (|h| h.generator_adam.lr = -1.0, "generator_adam: lr -1 must be above 0"),
            (
                |h| h.discriminator_adam.beta2 = 1.0,
                "discriminator_adam: beta1 0.5 and beta2 1 must be",
            ),
            (|h| h.loss = GanLoss::Wasserstein, "r1_gamma or spectral_norm above 0"),
            (|h| h.loss = GanLoss::Relativistic, "r1_gamma or r2_gamma above 0"),
            (|h| h.regularization.r1_gamma = f64::NAN, "r1_gamma NaN must be at least 0"),
            (|h| h.regularization.r2_gamma = -1.0, "r2_gamma -1 must be at least 0"),
            (
                |h| {
                    let decay = LinearDecay { start: 0.5, final_factor: 0.0 };
                    h.regularization.gamma_decay = Some(decay);
                },
                "gamma_decay: start 0.5 must be at least 0 and below 1, final_factor 0 above 0",
            ),
            (|h| h.regularization.augmentation.cutout = 28, "cutout 28 must be below"),
            (separate, "r1_gamma and r2_gamma need updates on real and fake images together"),
        ];
        for (change, want) in cases {
            let mut bad = good;
            change(&mut bad);
            let error = bad.check((28, 28)).expect_err(want).to_string();
            assert!(error.contains(want), "{error}, not {want}");
        }
    }

    /// The names of earlier versions mean the same.
    #[test]
    fn keys_of_earlier_versions_are_read() {
        let text = r#"{
            "batch_size": 8, "real_label": 0.9, "ema_decay": 0.0,
            "update": {"separate": {"half_batches": true, "only_above": {"real": 0.5}}},
            "lr_decay": {"from": 0.5, "to": 0.1},
            "regularization": {"gradient_penalty": 0.3},
            "generator_adam": {"lr": 1e-3, "beta1": 0.5, "beta2": 0.9},
            "discriminator_adam": {"lr": 1e-3, "beta1": 0.5, "beta2": 0.9}
        }"#;
        let read: Hyperparameters = serde_json::from_str(text).expect("readable");
        let LossThresholds { real, .. } = match read.update {
            UpdateScheme::Separate(separate) => separate.skip_if_loss_below,
            _ => panic!("separate"),
        };
        assert_eq!((real, read.loss), (Some(0.5), GanLoss::NonSaturating));
        assert_eq!(read.lr_decay, Some(LinearDecay { start: 0.5, final_factor: 0.1 }));
        assert_eq!((read.regularization.r1_gamma, read.schedule_steps), (0.3, 0));
        let written = serde_json::to_string(&read).expect("writable");
        assert!(!written.contains("only_above") && !written.contains("gradient_penalty"));
        assert_eq!(serde_json::from_str::<Hyperparameters>(&written).expect("its own"), read);
    }
}
