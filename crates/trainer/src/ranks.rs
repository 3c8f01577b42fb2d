//! The ranks of a training, which a launcher such as `mpirun` or `torchrun` has started.
//!
//! Rank 0 owns the run: it prints, reports and writes. The others compute.

use anyhow::{Result, anyhow, ensure};
use gan_files::Line;
use gan_training::{Communicator, SingleProcess};
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A library that connects ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    Mpi,
    Nccl,
}

impl Library {
    fn is_built(self) -> bool {
        match self {
            Self::Mpi => cfg!(feature = "mpi"),
            Self::Nccl => cfg!(feature = "nccl"),
        }
    }
}

/// Variables by which launchers tell a process its rank and the number of ranks: those of torchrun, of
/// Open MPI, of MPICH and its relatives, and of SLURM.
const LAUNCHERS: [(&str, &str, Library); 4] = [
    ("RANK", "WORLD_SIZE", Library::Nccl),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", Library::Mpi),
    ("PMI_RANK", "PMI_SIZE", Library::Mpi),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", Library::Mpi),
];

/// The most ranks.
const MAX_RANKS: usize = 1 << 16;

/// What a launcher tells a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Launched {
    rank: usize,
    size: usize,
    library: Library,
}

impl Launched {
    fn by_environment() -> Result<Option<Self>> {
        Self::by(|name| std::env::var(name).ok(), Library::is_built)
    }

    /// The first launcher whose library the program is built with, else the first: scripts that start
    /// PyTorch by mpirun or srun set RANK beside what these set.
    ///
    /// # Errors
    /// A variable that is no number of its range: alone, every process would train a run of its own.
    fn by(
        variable: impl Fn(&str) -> Option<String>,
        is_built: impl Fn(Library) -> bool,
    ) -> Result<Option<Self>> {
        let launchers = LAUNCHERS.iter().filter_map(|&(rank, size, library)| {
            Some((rank, variable(rank)?, size, variable(size)?, library))
        });
        let launchers: Vec<_> = launchers.collect();
        let usable = launchers.iter().find(|(.., library)| is_built(*library));
        let Some((rank, rank_text, size, size_text, library)) = usable.or(launchers.first()) else {
            return Ok(None);
        };
        let number = |name: &str, text: &str, range: RangeInclusive<usize>| {
            text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
                let (least, most) = range.into_inner();
                anyhow!(
                    "{name}={text}: must be a number from {least} to {most}; to train alone, unset \
                     {rank} and {size}"
                )
            })
        };
        let count = number(size, size_text, 1..=MAX_RANKS)?;
        let rank = number(rank, rank_text, 0..=count - 1)?;
        Ok(Some(Self { rank, size: count, library: *library }))
    }
}

/// Whether this process is the one that prints: the only one, or rank 0 of several.
pub fn is_first_rank() -> bool {
    // Where a launcher's variables are wrong, this process says so.
    let launched = Launched::by_environment().ok().flatten();
    launched.is_none_or(|launched| launched.rank == 0)
}

/// The ranks that this process trains with.
pub(crate) struct Ranks(Arc<dyn Communicator>);

impl Ranks {
    /// Connects the ranks that a launcher has started.
    ///
    /// # Errors
    /// Variables of a launcher that are wrong; several ranks of a program that is built without their
    /// library, or with another MPI than the launcher's; ranks that do not meet.
    pub(crate) fn start() -> Result<Self> {
        match Launched::by_environment()? {
            Some(launched) if launched.size > 1 => Self::connect(launched).inspect_err(|error| {
                // Where RANK is set for another reason, there is no rank 0 to say it.
                if launched.library == Library::Nccl && launched.rank > 0 {
                    let text = format!("rank {}: {error:#}", launched.rank);
                    let _ = writeln!(std::io::stderr(), "ERROR {}", Line(text.trim_end()));
                }
            }),
            _ => Ok(Self::alone()),
        }
    }

    fn connect(Launched { size, library, .. }: Launched) -> Result<Self> {
        let ranks = Self(match library {
            Library::Mpi => mpi(size)?,
            Library::Nccl => nccl(size)?,
        });
        ensure!(
            ranks.size() == size,
            "the launcher has started {size} ranks, of which MPI connects {}: start the \
             program by the `mpirun` of the MPI that it is built with, or by `srun --mpi=pmix`",
            ranks.size()
        );
        Ok(ranks)
    }

    /// A process alone.
    pub(crate) fn alone() -> Self {
        Self(Arc::new(SingleProcess))
    }

    pub(crate) fn communicator(&self) -> Arc<dyn Communicator> {
        self.0.clone()
    }

    pub(crate) fn size(&self) -> usize {
        self.0.size()
    }

    /// Whether this is the rank that reports.
    pub(crate) fn is_first(&self) -> bool {
        self.0.rank() == 0
    }

    /// Returns the result where all ranks have succeeded, else on every rank the error of the first
    /// that failed.
    ///
    /// # Errors
    /// The error of this rank or of another, which it then names.
    pub(crate) fn agree<T>(&self, result: Result<T>) -> Result<T> {
        let text = result.as_ref().err().map_or(String::new(), |error| format!("{error:#}"));
        let mut failed = None;
        for rank in 0..self.size() {
            let text = self.0.broadcast(rank, text.clone().into_bytes())?;
            if !text.is_empty() {
                failed = failed.or(Some((rank, String::from_utf8_lossy(&text).into_owned())));
            }
        }
        match (failed, result) {
            (None, result) => result,
            (Some((rank, _)), Err(error)) if rank == self.0.rank() => Err(error),
            (Some((rank, text)), _) => Err(anyhow!("rank {rank}: {text}")),
        }
    }

    /// Checks that what determines the results is the same on all ranks.
    ///
    /// # Errors
    /// The first fact that differs from rank 0's, and the first rank where it does.
    pub(crate) fn check_same(&self, facts: &[(String, String)]) -> Result<()> {
        let first = self.0.broadcast(0, serde_json::to_vec(facts)?)?;
        let first: Vec<(String, String)> = serde_json::from_slice(&first)?;
        let value = |facts: &[(String, String)], name: &str| {
            let fact = facts.iter().find(|(other, _)| other == name);
            fact.map_or("nothing".to_string(), |(_, value)| value.clone())
        };
        let names = facts.iter().chain(&first).map(|(name, _)| name);
        let both = |name: &String| (name.clone(), value(facts, name), value(&first, name));
        self.agree(match names.map(both).find(|(_, own, first)| own != first) {
            Some((name, own, first)) => {
                Err(anyhow!("{name} differs: {own}, on rank 0 {first}; every rank needs the same"))
            }
            None => Ok(()),
        })
    }

    /// Ends the other ranks where this one has failed: with MPI, after it has printed its error.
    ///
    /// # Errors
    /// That of the result.
    pub(crate) fn end<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| self.0.fail(&format!("{error:#}")))
    }
}

#[cfg(feature = "mpi")]
fn mpi(_: usize) -> Result<Arc<dyn Communicator>> {
    let mpi = gan_training::Mpi::start();
    Ok(Arc::new(mpi.ok_or_else(|| anyhow!("MPI is initialised already"))?))
}

#[cfg(not(feature = "mpi"))]
fn mpi(size: usize) -> Result<Arc<dyn Communicator>> {
    anyhow::bail!(
        "the launcher has started {size} ranks, but this program is built without MPI; build it with \
         `--features mpi`"
    )
}

#[cfg(feature = "nccl")]
fn nccl(_: usize) -> Result<Arc<dyn Communicator>> {
    Ok(Arc::new(gan_training::Nccl::start()?))
}

#[cfg(not(feature = "nccl"))]
fn nccl(size: usize) -> Result<Arc<dyn Communicator>> {
    anyhow::bail!(
        "WORLD_SIZE says that a launcher has started {size} ranks, but this program is built without NCCL; \
         build it with `--features nccl`; to train alone, unset RANK and WORLD_SIZE"
    )
}

/// What so many ranks return, each a thread.
#[cfg(test)]
pub(crate) fn on_ranks<T: Send>(size: usize, run: impl Fn(usize, Ranks) -> T + Sync) -> Vec<T> {
    let run = &run;
    std::thread::scope(|scope| {
        let threads: Vec<_> = gan_training::in_process(size)
            .into_iter()
            .map(|rank| scope.spawn(move || run(rank.rank(), Ranks(Arc::new(rank)))))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launcher_is_known_by_its_variables() {
        let (torchrun, slurm) = (
            [("RANK", "3"), ("WORLD_SIZE", "8")],
            [("SLURM_PROCID", "1"), ("SLURM_STEP_NUM_TASKS", "2")],
        );
        let by = |variables: &[(&str, &str)], built: &[Library]| {
            let value = |name: &str| variables.iter().find(|(other, _)| *other == name);
            let launched = Launched::by(
                |name| value(name).map(|(_, value)| value.to_string()),
                |library| built.contains(&library),
            );
            let launched = launched.map_err(|error| error.to_string());
            launched
                .map(|found| found.map(|Launched { rank, size, library }| (rank, size, library)))
        };
        let (mpi, nccl) = (Library::Mpi, Library::Nccl);
        let both = [torchrun, slurm].concat();
        assert_eq!(by(&[], &[mpi, nccl]), Ok(None));
        // Half of what a launcher says.
        assert_eq!(by(&torchrun[..1], &[nccl]), Ok(None));
        assert_eq!(by(&torchrun, &[]), Ok(Some((3, 8, nccl))));
        assert_eq!(by(&torchrun, &[mpi]), Ok(Some((3, 8, nccl))));
        assert_eq!(by(&slurm, &[nccl]), Ok(Some((1, 2, mpi))));
        for (built, want) in
            [(&[][..], (3, 8, nccl)), (&[nccl, mpi], (3, 8, nccl)), (&[mpi], (1, 2, mpi))]
        {
            assert_eq!(by(&both, built), Ok(Some(want)));
        }
        for (rank, size, want) in [
            ("abc", "8", "RANK=abc: must be a number from 0 to 7"),
            ("", "8", "RANK=: must be a number from 0 to 7"),
            ("8", "8", "RANK=8: must be a number from 0 to 7"),
            ("0", "8x", "WORLD_SIZE=8x: must be a number from 1 to 65536"),
            ("0", "0", "WORLD_SIZE=0: must be a number from 1 to 65536"),
        ] {
            let torchrun = [("RANK", rank), ("WORLD_SIZE", size)];
            let want = format!("{want}; to train alone, unset RANK and WORLD_SIZE");
            assert_eq!(by(&torchrun, &[nccl]), Err(want));
            // What this program does not use is not looked at.
            assert_eq!(by(&[torchrun, slurm].concat(), &[mpi]), Ok(Some((1, 2, mpi))));
        }
    }

    #[test]
    fn all_ranks_have_the_error_of_the_first_that_failed() {
        let agreed = |failing: &[usize]| {
            on_ranks(3, |rank, ranks| {
                let result = match failing.contains(&rank) {
                    true => Err(anyhow!("no file {rank}")),
                    false => Ok(rank),
                };
                ranks.agree(result).map_err(|error| error.to_string())
            })
        };
        assert_eq!(agreed(&[]), [Ok(0), Ok(1), Ok(2)]);
        let of = |text: &str| Err::<usize, _>(text.to_string());
        assert_eq!(
            agreed(&[0, 1, 2]),
            [of("no file 0"), of("rank 0: no file 0"), of("rank 0: no file 0")]
        );
        assert_eq!(
            agreed(&[1, 2]),
            [of("rank 1: no file 1"), of("no file 1"), of("rank 1: no file 1")]
        );
    }

    #[test]
    fn a_fact_that_differs_is_named_with_its_rank() {
        let checked = |size| {
            on_ranks(size, |rank, ranks| {
                let set = if rank == 2 { "AVX2" } else { "AVX-512" };
                let fact = |name: &str, value: &str| (name.to_string(), value.to_string());
                let mut facts =
                    vec![fact("the version", "0.1.0"), fact("the instruction set", set)];
                facts.truncate(if rank == 1 && size == 2 { 1 } else { 2 });
                ranks.check_same(&facts).map_err(|error| error.to_string())
            })
        };
        for (size, want) in [
            (
                3,
                "rank 2: the instruction set differs: AVX2, on rank 0 AVX-512; every rank needs the same",
            ),
            (
                2,
                "rank 1: the instruction set differs: nothing, on rank 0 AVX-512; every rank needs the same",
            ),
        ] {
            let checked = checked(size);
            assert_eq!(checked[0], Err(want.to_string()));
            assert!(checked.iter().all(Result::is_err));
        }
    }

    #[test]
    fn rank_0_decides() {
        let decided = on_ranks(2, |rank, ranks| {
            [false, true].map(|decision| {
                ranks.communicator().decide(decision == (rank == 0)).expect("both are there")
            })
        });
        assert_eq!(decided, [[false, true]; 2]);
    }

    /// An error of one rank ends the others, which name it.
    #[test]
    fn an_error_of_one_rank_ends_the_others() {
        let ended = on_ranks(2, |rank, ranks| {
            let result = match rank {
                1 => Err(anyhow!("the disk is full")),
                _ => {
                    let decided = ranks.communicator().decide(false);
                    decided
                        .and_then(|_| ranks.communicator().barrier())
                        .map_err(anyhow::Error::from)
                }
            };
            ranks.end(result).expect_err("both end").to_string()
        });
        assert_eq!(ended, ["rank 1: the disk is full", "the disk is full"]);
    }
}
