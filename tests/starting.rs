//! Runs that start from other networks, with other values than the recipe's, or for a given time.

use serde_json::{Value, json};

use crate::{Place, SMALL};

const RUN: &str = "runs/00000-idx-set-tiny";

#[test]
fn a_run_starts_from_another_one() {
    let place = Place::new();
    place.succeed(SMALL);
    // What the last checkpoint holds is what the new run draws first: both have the same latents.
    place.succeed(&format!("{SMALL} --init-from {RUN} --set sample_every=1 --steps 1"));
    let run = "runs/00001-idx-set-tiny";
    let grid = |run: &str, step: u64| place.read(&format!("{run}/samples/{step:06}.png"));
    assert_eq!(grid(run, 0), grid(RUN, 12));
    assert_ne!(grid(run, 1), grid(RUN, 12));
    let from = place.json(&format!("{run}/config.json"))["init_from"].clone();
    assert!(
        from.as_str().is_some_and(|from| from.ends_with(RUN) && from.starts_with('/')),
        "{from}"
    );
    // A generator alone, with a warning.
    let said = place.succeed(&format!("{SMALL} --init-from {RUN}/generator --steps 1"));
    assert!(said.err.contains("holds a generator alone"), "{}", said.err);
    assert_eq!(grid("runs/00002-idx-set-tiny", 0), grid(RUN, 12));
}

#[test]
fn networks_of_other_shapes_are_named_before_anything_is_written() {
    let place = Place::new();
    place.succeed(SMALL);
    let error =
        place.fail("--recipe mlp-like.toml --dataset idx:set --init-from runs/00000-idx-set-tiny");
    assert!(error.starts_with("--init-from ") && error.contains(&format!("{RUN}: ")), "{error}");
    assert!(error.contains("generator: no layers.0.bias, which must"), "{error}");
    let error = place.fail(&format!("{SMALL} --init-from set"));
    assert!(error.contains("/set: neither a run with a checkpoint nor"), "{error}");
    assert_eq!(place.names("runs").len(), 1);
}

/// A run that is killed before its first checkpoint starts from the same networks again.
#[test]
fn a_resumed_run_keeps_where_it_started() {
    let place = Place::new();
    place.succeed(SMALL);
    place.succeed(&format!("{SMALL} --init-from {RUN}"));
    let run = "runs/00001-idx-set-tiny";
    let whole = place.read(&format!("{run}/generator/model.safetensors"));
    for name in ["checkpoints", "generator", "samples", "stats.jsonl"] {
        let path = place.path(&format!("{run}/{name}"));
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
            .unwrap();
    }
    place.succeed(&format!("--resume {run}"));
    assert_eq!(place.read(&format!("{run}/generator/model.safetensors")), whole);
}

#[test]
fn any_key_of_a_recipe_can_be_set() {
    let place = Place::new();
    place.succeed(&format!(
        "{SMALL} --set ema_decay=0.5 --set loss=relativistic --set r1_gamma=1 --set r2_gamma=0.5 \
         --set colour=true --set flip=true --steps 2"
    ));
    let config = place.json(&format!("{RUN}/config.json"));
    let regularization = &config["training"]["regularization"];
    assert_eq!(config["training"]["loss"], "relativistic");
    assert_eq!(
        (&regularization["r1_gamma"], &regularization["r2_gamma"]),
        (&json!(1.0), &json!(0.5))
    );
    assert_eq!(regularization["augmentation"]["colour"], true);
    assert_eq!(config["set"].as_array().map(Vec::len), Some(6));
    let error = place.fail(&format!("{SMALL} --set ema_decay=2"));
    assert!(error.contains("ema_decay 2 must be at least 0 and below 1"), "{error}");
    let error = place.fail(&format!("{SMALL} --set loss=relativistic --set r1_gamma=0"));
    assert!(error.contains("relativistic loss needs a regularised discriminator"), "{error}");
}

#[test]
fn a_budget_sets_the_steps_and_says_what_it_chose() {
    let place = Place::new();
    let said = place.succeed(&format!("{SMALL} --budget 0.001 --dry-run"));
    let end = said.out.find("\n}").unwrap() + 2;
    let config: Value = serde_json::from_str(&said.out[..end]).unwrap();
    let steps = config["steps"].as_u64().unwrap();
    assert!(steps > 0);
    assert_eq!(config["training"]["schedule_steps"], steps);
    let want = format!("{steps} steps; the same run on any machine is --steps {steps} --set ");
    assert!(said.err.contains(&want), "{}", said.err);
    let error = place.fail(&format!("{SMALL} --budget 0"));
    assert!(error.contains("--budget 0: must be above 0 minutes"), "{error}");
    let said = place.run(&format!("{SMALL} --budget 5 --steps 3"));
    assert!(said.err.contains("cannot be used with '--steps"), "{}", said.err);
}

/// Without --recipe, a run says which one it chose and for which images.
#[test]
fn the_chosen_recipe_is_explained() {
    let place = Place::new();
    place.idx_images("one", (28, 28), &[0; 40]);
    let said = place.succeed("--dataset idx:one --steps 1");
    let line = "recipe default, for images of one class, up to 32 pixels a side; --recipe NAME";
    assert!(said.err.contains(line), "{said:?}");
    let said = place.succeed("--resume runs/00000-idx-one-default --steps 2");
    assert!(!said.err.contains("--recipe NAME"), "{said:?}");
}
