//! The examples at the end of each command's help.

/// Of the program itself.
pub(super) const PROGRAM: &str = "\
Examples:
  candle-gan --digit 5
  candle-gan generate --count 100 --format grid --out fives.png
  candle-gan evaluate";

/// Of `train`.
pub(super) const TRAIN: &str = "\
Examples:
  candle-gan train --digit 5
  candle-gan train --dataset folder:icons --budget 60
  candle-gan train --recipe mine.toml --loss hinge --set ema_decay=0.998
  candle-gan train --resume runs/00000-mnist-5-default --steps 9000
  candle-gan train --digit 5 --progress json | jq .step";

/// Of `generate`.
pub(super) const GENERATE: &str = "\
Examples:
  candle-gan generate --count 100 --format grid --out fives.png
  candle-gan generate --weights assets/weights/digits --class 7 --count 9 --format png --out sevens
  candle-gan generate --count 60000 --format idx --layout torchvision --out generated";

/// Of `interpolate`.
pub(super) const INTERPOLATE: &str = "\
Examples:
  candle-gan interpolate --format animation --out film.png
  candle-gan interpolate --weights assets/weights/digits --class 3,8 --points 1 --out grid.png";

/// Of `evaluate`.
pub(super) const EVALUATE: &str = "\
Examples:
  candle-gan evaluate
  candle-gan evaluate --run runs/00000-mnist-5-default --best --json
  candle-gan evaluate --images generated --dataset folder:icons --nearest nearest.png";

/// Of `score`.
pub(super) const SCORE: &str = "\
Examples:
  candle-gan score drawing.png
  candle-gan score --run runs/00001-mnist-conditional --class 7 sevens";

/// Of `invert`.
pub(super) const INVERT: &str = "\
Examples:
  candle-gan invert drawing.png
  candle-gan invert --weights assets/weights/digits --class 7 seven.png";

/// Of `serve`.
#[cfg(feature = "serve")]
pub(super) const SERVE: &str = "\
Examples:
  candle-gan serve
  candle-gan serve --runs experiments --port 8080";

/// Of `recipes`.
pub(super) const RECIPES: &str = "\
Examples:
  candle-gan recipes";

/// Of `summary`.
pub(super) const SUMMARY: &str = "\
Examples:
  candle-gan summary --recipe dcgan
  candle-gan summary --run runs/00000-mnist-5-default";

/// Of `classifier`.
pub(super) const CLASSIFIER: &str = "\
Examples:
  candle-gan classifier --dataset folder:letters";

/// Of `export`.
pub(super) const EXPORT: &str = "\
Examples:
  candle-gan export --digit 3,5 --out digits/train
  candle-gan export --dataset folder:icons --split test --out icons/test";

/// Of `export-html`.
pub(super) const EXPORT_HTML: &str = "\
Examples:
  candle-gan export-html --out fives.html
  candle-gan export-html --weights assets/weights/digits --out digits.html";

/// Of `export-onnx`.
pub(super) const EXPORT_ONNX: &str = "\
Examples:
  candle-gan export-onnx --out fives.onnx
  candle-gan export-onnx --weights assets/weights/digits --out digits.onnx";

/// Of `bench`.
pub(super) const BENCH: &str = "\
Examples:
  candle-gan bench
  candle-gan bench --recipe dcgan --batch-size 128 --layers";

/// Of `completions`.
pub(super) const COMPLETIONS: &str = "\
Examples:
  candle-gan completions bash > ~/.local/share/bash-completion/completions/candle-gan
  candle-gan completions zsh > ~/.zfunc/_candle-gan
  candle-gan completions fish > ~/.config/fish/completions/candle-gan.fish";
