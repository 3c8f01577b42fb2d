//! Tests of steps that several ranks make together.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::tests::{BATCH_NORM, gan_of, hyperparameters};
use crate::*;
use candle_core::{Device, Tensor};
use gan_models::{Conditioning, Norm};
use rand::RngCore;
use std::path::Path;
use std::sync::Arc;
use std::thread;

const BATCH: usize = 8;

/// Settings of a run with the normalisation of both networks.
#[derive(Clone, Copy)]
struct Case {
    settings: Hyperparameters,
    norms: (Norm, Norm),
}

impl Case {
    fn new(loss: GanLoss, update: UpdateScheme, norms: (Norm, Norm)) -> Self {
        let mut settings = hyperparameters(loss, update);
        settings.batch_size = BATCH;
        Self { settings, norms }
    }

    fn micro_batches(mut self, count: usize) -> Self {
        self.settings.micro_batches = count;
        self
    }

    fn gan(self) -> Gan {
        gan_of(self.settings, self.norms, Some(Conditioning::Projection))
    }

    /// Runs `train` on so many ranks, each a thread, and returns what they return.
    fn on_ranks<T: Send>(self, ranks: usize, train: impl Fn(Gan) -> T + Sync) -> Vec<T> {
        let train = &train;
        thread::scope(|scope| {
            let threads: Vec<_> = in_process(ranks)
                .into_iter()
                .map(|rank| {
                    scope
                        .spawn(move || train(self.gan().with_communicator(Arc::new(rank)).unwrap()))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }
}

/// The batch of a step, as a function of its number.
fn batch(step: u64) -> (Tensor, Vec<u32>) {
    let value = |i: usize| (i as f32 * 0.37 + step as f32).sin();
    let values: Vec<f32> = (0..BATCH * 64).map(value).collect();
    let images = Tensor::from_vec(values, (BATCH, 1, 8, 8), &Device::Cpu).unwrap();
    (images, (0..BATCH as u32).map(|i| i % 3).collect())
}

/// Trains until a step with this rank's part of each batch.
fn train(gan: &mut Gan, until: u64) -> Result<()> {
    let own = gan.own_images();
    while gan.step() < until {
        let (images, labels) = batch(gan.step());
        let images = images.narrow(0, own.start, own.len()).unwrap();
        gan.train_step(&images, &labels[own.clone()])?;
    }
    Ok(())
}

/// Everything that a checkpoint holds, as bits.
fn state(gan: &Gan) -> Vec<u64> {
    let parameters =
        [gan.generator_parameters(), gan.discriminator_parameters(), gan.ema_parameters()];
    let parameters = parameters.into_iter().flat_map(gan_models::Parameters::tensors);
    let mut tensors: Vec<(String, Tensor)> = parameters.collect();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    tensors.extend(gan.generator.optimizer.state());
    tensors.extend(gan.discriminator.optimizer.state());
    let values = tensors.into_iter().flat_map(|(_, tensor)| {
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits)
    });
    let mut bits: Vec<u64> = values.map(u64::from).collect();
    bits.push(gan.augmentation_probability.to_bits());
    bits.push(gan.rng.clone().next_u64());
    bits
}

/// Every update scheme, batch normalisation, R1, R2, an adaptive probability and skipped updates.
fn cases() -> Vec<Case> {
    let (none, both) = ((Norm::None, Norm::None), (BATCH_NORM, BATCH_NORM));
    let separate = |half_batches, real| {
        let skip_if_loss_below = LossThresholds { real, fake: Some(0.7), generator: None };
        UpdateScheme::Separate(SeparateUpdates { half_batches, skip_if_loss_below })
    };
    let mut adaptive =
        Case::new(GanLoss::NonSaturating, UpdateScheme::Simultaneous, (BATCH_NORM, Norm::None));
    adaptive.settings.regularization.augmentation.adaptive =
        Some(AdaptiveProbability { target: 0.1, images: 50 });
    vec![
        adaptive,
        Case::new(GanLoss::Relativistic, UpdateScheme::Alternating, both),
        Case::new(GanLoss::Hinge, UpdateScheme::Alternating, none),
        Case::new(GanLoss::NonSaturating, separate(false, Some(0.72)), both),
        Case::new(GanLoss::LeastSquares, separate(true, None), none),
    ]
}

/// The number of micro-batches decides the bytes, the number of ranks does not.
#[test]
fn every_number_of_ranks_has_the_same_bytes() {
    for (index, case) in cases().into_iter().enumerate() {
        let trained = |micro_batches: usize, ranks: usize| {
            case.micro_batches(micro_batches).on_ranks(ranks, |mut gan| {
                train(&mut gan, 4).unwrap();
                state(&gan)
            })
        };
        let mut alone = case.micro_batches(1).gan();
        train(&mut alone, 4).unwrap();
        let mut distinct = vec![state(&alone)];
        for micro_batches in [2, 4] {
            let want = trained(micro_batches, 1).remove(0);
            for ranks in [2, 4].into_iter().filter(|ranks| *ranks <= micro_batches) {
                for (rank, got) in trained(micro_batches, ranks).into_iter().enumerate() {
                    assert!(got == want, "case {index}: rank {rank} of {ranks}");
                }
            }
            distinct.push(want);
        }
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 3, "case {index}");
    }
}

/// A checkpoint of two ranks is continued by one, and by four.
#[test]
fn another_number_of_ranks_continues_with_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let checkpoint: &Path = &directory.path().join("checkpoint");
    for case in cases() {
        let case = case.micro_batches(4);
        case.on_ranks(2, |mut gan| {
            train(&mut gan, 2).unwrap();
            if gan.own_images().start == 0 {
                gan.save(checkpoint).unwrap();
            }
        });
        let whole = case.on_ranks(1, |mut gan| {
            train(&mut gan, 4).unwrap();
            state(&gan)
        });
        for ranks in [1, 4] {
            let resumed = case.on_ranks(ranks, |mut gan| {
                gan.restore(checkpoint).unwrap();
                train(&mut gan, 4).unwrap();
                state(&gan)
            });
            assert!(resumed.iter().all(|state| *state == whole[0]), "{ranks} ranks");
        }
    }
}

/// What the statistics of a step are computed from is that of the whole batch on every rank.
#[test]
fn statistics_are_those_of_all_ranks() {
    for case in cases() {
        let case = case.micro_batches(4);
        let stats = |ranks| {
            case.on_ranks(ranks, |mut gan| {
                let own = gan.own_images();
                let (images, labels) = batch(0);
                let images = images.narrow(0, own.start, own.len()).unwrap();
                let output = gan.train_step(&images, &labels[own]).unwrap();
                gan.read_stats(&output).unwrap()
            })
        };
        let want = stats(1);
        assert!(stats(2).iter().chain(&stats(4)).all(|got| *got == want[0]));
    }
}

/// Whether a rank fails with an error or is gone, no other waits for it.
#[test]
fn a_rank_that_fails_ends_the_others() {
    let case = cases().remove(1).micro_batches(4);
    for (is_gone, want) in [
        (false, "rank 2: the generator's images must have shape [2, 1, 8, 9], not [2, 1, 8, 8]"),
        (true, "rank 2: has ended before the others"),
    ] {
        let errors = case.on_ranks(4, |mut gan| {
            train(&mut gan, 2).unwrap();
            if gan.own_images().start != 4 {
                return train(&mut gan, 4).unwrap_err().to_string();
            }
            if is_gone {
                return want.to_string();
            }
            let images =
                Tensor::zeros((2, 1, 8, 9), gan_models::candle_core::DType::F32, gan.device());
            format!("rank 2: {}", gan.train_step(&images.unwrap(), &[0, 1]).unwrap_err())
        });
        assert_eq!(errors, [want; 4]);
    }
}

/// A loss that is not finite is every rank's error, whichever images it comes from.
#[test]
fn a_loss_that_is_not_finite_ends_all_ranks_alike() {
    let case = cases().remove(2).micro_batches(2);
    let errors = case.on_ranks(2, |mut gan| {
        let own = gan.own_images();
        let value = if own.start == 0 { 0.0 } else { f32::NAN };
        let images = Tensor::full(value, (own.len(), 1, 8, 8), gan.device()).unwrap();
        gan.train_step(&images, &[0; 4]).unwrap_err().to_string()
    });
    assert_eq!(errors[0], errors[1]);
    assert!(errors[0].starts_with("step 1: the discriminator's loss is NaN"), "{}", errors[0]);
}

#[test]
fn ranks_that_do_not_divide_the_micro_batches_are_an_error() {
    let ranks = in_process(3).remove(0);
    let gan = cases().remove(0).micro_batches(4).gan();
    let error = gan.with_communicator(Arc::new(ranks)).err().unwrap().to_string();
    assert!(error.starts_with("micro_batches 4: 3 ranks need a multiple of 3;"), "{error}");
    assert!(error.contains("--micro-batches 6"), "{error}");
}

#[test]
fn bytes_of_one_rank_reach_all() {
    thread::scope(|scope| {
        for rank in in_process(3) {
            scope.spawn(move || {
                for root in 0..3 {
                    let bytes = rank.broadcast(root, vec![rank.rank() as u8; 2]).unwrap();
                    assert_eq!(bytes, [root as u8; 2]);
                }
                rank.barrier().unwrap();
            });
        }
    });
}
