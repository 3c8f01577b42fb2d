//! Batches in several parts, and programs that a launcher of MPI has started.

use serde_json::json;

use crate::{Place, SMALL, assert_same, finish};

/// A batch in parts is one result whether or not the run is resumed, and another than a whole batch.
#[test]
fn micro_batches_decide_the_result() {
    let place = Place::new();
    let run = |out: &str| format!("{out}/00000-idx-set-tiny");
    place.succeed(&format!("{SMALL} --out whole"));
    place.succeed(&format!("{SMALL} --micro-batches 2 --out parts"));
    place.succeed(&format!("{SMALL} --micro-batches 2 --steps 5 --out resumed"));
    place.succeed(&format!("--resume {} --steps 12", run("resumed")));
    let [whole, mut parts, mut resumed] =
        ["whole", "parts", "resumed"].map(|out| place.result(&run(out)));
    let weights = "generator/model.safetensors";
    assert_ne!(whole[weights], parts[weights]);
    // A session of 5 steps wrote its last samples.
    for files in [&mut parts, &mut resumed] {
        files.retain(|name, _| !name.contains("000005"));
    }
    assert_same(&parts, &resumed);
    let key = |out: &str| {
        place.json(&format!("{}/config.json", run(out)))["training"].get("micro_batches").cloned()
    };
    assert_eq!((key("whole"), key("parts")), (None, Some(json!(2))));
    place.refuse_saying(
        &format!("{SMALL} --micro-batches 6"),
        &["micro_batches 6: batch size 8 must divide", "--micro-batches 2 fits"],
    );
}

/// Each rank would train a run of its own.
#[test]
fn ranks_need_a_program_that_is_built_with_their_library() {
    if cfg!(any(feature = "mpi", feature = "nccl")) {
        return;
    }
    let place = Place::new();
    let mpi = "ERROR the launcher has started 2 ranks, but this program is built without MPI";
    let nccl = "WORLD_SIZE says that a launcher has started 2 ranks, but this program is built without NCCL";
    let cure = "to train alone, unset RANK and WORLD_SIZE";
    // Of MPI's ranks one speaks. RANK may be set for another reason, with no rank 0.
    for (rank, size, [of_0, of_1], end) in [
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", [mpi, ""], ""),
        ("PMI_RANK", "PMI_SIZE", [mpi, ""], ""),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", [mpi, ""], ""),
        ("RANK", "WORLD_SIZE", [&format!("ERROR {nccl}"), &format!("ERROR rank 1: {nccl}")], cure),
    ] {
        for (number, want) in [("0", of_0), ("1", of_1)] {
            let mut command = place.command(SMALL);
            let said = finish(command.env(rank, number).env(size, "2"));
            assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
            let is_whole = said.err.starts_with(want) && said.err.trim_end().ends_with(end);
            assert!(is_whole && said.err.lines().count() <= 1, "{}", said.err);
            assert!(want.is_empty() == said.err.is_empty(), "{}", said.err);
        }
    }
    for (rank, size, want) in [
        ("7", "4", "ERROR RANK=7: must be a number from 0 to 3; "),
        ("one", "4", "ERROR RANK=one: must be a number from 0 to 3; "),
    ] {
        let mut command = place.command(SMALL);
        let said = finish(command.env("RANK", rank).env("WORLD_SIZE", size));
        assert_eq!((said.code, said.err), (Some(2), format!("{want}{cure}\n")));
    }
    assert!(!place.path("runs").exists());
    // One rank is a process as any other.
    for (rank, size) in [("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("RANK", "WORLD_SIZE")] {
        let mut command = place.command(SMALL);
        let said = finish(command.env(rank, "0").env(size, "1"));
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(said.err.contains("run directory"), "{}", said.err);
    }
}
