//! The layers of the FID Inception, as data.

use Layer::{AveragePool, Concat, MaxPool};

/// A layer, or several of them side by side. `C` is what stands for a convolution.
#[derive(Clone, Debug)]
pub(super) enum Layer<C> {
    /// A convolution without bias, batch normalisation and ReLU.
    Conv(C),
    /// The maximum of 3x3 pixels, beside `padding` rows and columns of padding.
    MaxPool { stride: usize, padding: usize },
    /// The mean of 3x3 pixels around each, of those that the image has.
    AveragePool,
    /// Sequences of layers with the same input, whose channels are joined. Names of convolutions in it
    /// begin with the text.
    Concat(&'static str, Vec<Vec<Layer<C>>>),
}

/// The size of a convolution. Its tensors' names begin with its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conv {
    pub(super) name: &'static str,
    /// Channels of the output.
    pub(super) channels: usize,
    /// Height and width.
    pub(super) kernel: (usize, usize),
    pub(super) stride: usize,
    /// Rows above and below, columns to the left and right.
    pub(super) padding: (usize, usize),
}

/// A convolution of stride 1 whose output has the size of its input.
fn same(name: &'static str, channels: usize, kernel: (usize, usize)) -> Layer<Conv> {
    let padding = (kernel.0 / 2, kernel.1 / 2);
    Layer::Conv(Conv { name, channels, kernel, stride: 1, padding })
}

/// A convolution of 3x3 pixels without padding.
fn valid(name: &'static str, channels: usize, stride: usize) -> Layer<Conv> {
    Layer::Conv(Conv { name, channels, kernel: (3, 3), stride, padding: (0, 0) })
}

/// Halves both sides.
const HALVE: Layer<Conv> = MaxPool { stride: 2, padding: 0 };

/// The branches of a block.
type Branches = Vec<Vec<Layer<Conv>>>;

/// Returns the layers from images of 299x299 pixels to 2048 channels of 8x8, whose means are the
/// features.
pub(super) fn layers() -> Vec<Layer<Conv>> {
    let stem = [
        valid("Conv2d_1a_3x3", 32, 2),
        valid("Conv2d_2a_3x3", 32, 1),
        same("Conv2d_2b_3x3", 64, (3, 3)),
        HALVE,
        same("Conv2d_3b_1x1", 80, (1, 1)),
        valid("Conv2d_4a_3x3", 192, 1),
        HALVE,
    ];
    let blocks = [
        Concat("Mixed_5b.", mixed_35(32)),
        Concat("Mixed_5c.", mixed_35(64)),
        Concat("Mixed_5d.", mixed_35(64)),
        Concat("Mixed_6a.", from_35_to_17()),
        Concat("Mixed_6b.", mixed_17(128)),
        Concat("Mixed_6c.", mixed_17(160)),
        Concat("Mixed_6d.", mixed_17(160)),
        Concat("Mixed_6e.", mixed_17(192)),
        Concat("Mixed_7a.", from_17_to_8()),
        Concat("Mixed_7b.", mixed_8(AveragePool)),
        Concat("Mixed_7c.", mixed_8(MaxPool { stride: 1, padding: 1 })),
    ];
    stem.into_iter().chain(blocks).collect()
}

/// On 35x35 pixels.
fn mixed_35(pooled: usize) -> Branches {
    vec![
        vec![same("branch1x1", 64, (1, 1))],
        vec![same("branch5x5_1", 48, (1, 1)), same("branch5x5_2", 64, (5, 5))],
        vec![
            same("branch3x3dbl_1", 64, (1, 1)),
            same("branch3x3dbl_2", 96, (3, 3)),
            same("branch3x3dbl_3", 96, (3, 3)),
        ],
        vec![AveragePool, same("branch_pool", pooled, (1, 1))],
    ]
}

fn from_35_to_17() -> Branches {
    vec![
        vec![valid("branch3x3", 384, 2)],
        vec![
            same("branch3x3dbl_1", 64, (1, 1)),
            same("branch3x3dbl_2", 96, (3, 3)),
            valid("branch3x3dbl_3", 96, 2),
        ],
        vec![HALVE],
    ]
}

/// On 17x17 pixels.
fn mixed_17(inner: usize) -> Branches {
    vec![
        vec![same("branch1x1", 192, (1, 1))],
        vec![
            same("branch7x7_1", inner, (1, 1)),
            same("branch7x7_2", inner, (1, 7)),
            same("branch7x7_3", 192, (7, 1)),
        ],
        vec![
            same("branch7x7dbl_1", inner, (1, 1)),
            same("branch7x7dbl_2", inner, (7, 1)),
            same("branch7x7dbl_3", inner, (1, 7)),
            same("branch7x7dbl_4", inner, (7, 1)),
            same("branch7x7dbl_5", 192, (1, 7)),
        ],
        vec![AveragePool, same("branch_pool", 192, (1, 1))],
    ]
}

fn from_17_to_8() -> Branches {
    vec![
        vec![same("branch3x3_1", 192, (1, 1)), valid("branch3x3_2", 320, 2)],
        vec![
            same("branch7x7x3_1", 192, (1, 1)),
            same("branch7x7x3_2", 192, (1, 7)),
            same("branch7x7x3_3", 192, (7, 1)),
            valid("branch7x7x3_4", 192, 2),
        ],
        vec![HALVE],
    ]
}

/// On 8x8 pixels.
fn mixed_8(pool: Layer<Conv>) -> Branches {
    let rows_and_columns = |rows, columns| {
        Concat("", vec![vec![same(rows, 384, (1, 3))], vec![same(columns, 384, (3, 1))]])
    };
    vec![
        vec![same("branch1x1", 320, (1, 1))],
        vec![same("branch3x3_1", 384, (1, 1)), rows_and_columns("branch3x3_2a", "branch3x3_2b")],
        vec![
            same("branch3x3dbl_1", 448, (1, 1)),
            same("branch3x3dbl_2", 384, (3, 3)),
            rows_and_columns("branch3x3dbl_3a", "branch3x3dbl_3b"),
        ],
        vec![pool, same("branch_pool", 192, (1, 1))],
    ]
}
