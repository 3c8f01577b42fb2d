//! Ways between two noises.

/// The point that divides the arc from one noise to another: 0 is the first, 1 the second.
///
/// Noises of a normal distribution lie near a sphere, and so do the points of the arc; those of the
/// straight line between them are nearer to 0 than any that a generator was trained on. Where the
/// two point the same way, or opposite ways, which of all arcs to take is not told: a straight line
/// stands for it.
///
/// # Shapes
/// Two vectors of one length; values beyond the shorter one's are left out.
/// # Reference
/// White 2016, "Sampling generative networks".
pub fn slerp(from: &[f32], to: &[f32], share: f32) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let share = f64::from(share);
    let norms = (dot(from, from) * dot(to, to)).sqrt();
    let angle = (dot(from, to) / norms).clamp(-1.0, 1.0).acos();
    let (first, second) = if angle.sin() > 1e-6 {
        (((1.0 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin())
    } else {
        (1.0 - share, share)
    };
    let mix = |(a, b): (&f32, &f32)| (first * f64::from(*a) + second * f64::from(*b)) as f32;
    from.iter().zip(to).map(mix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_in_thirds() {
        let (from, to) = ([2.0, 0.0], [0.0, 2.0]);
        for (share, angle) in [(0.0, 0.0f32), (1.0 / 3.0, 30.0), (0.5, 45.0), (1.0, 90.0)] {
            let (sin, cos) = angle.to_radians().sin_cos();
            let got = slerp(&from, &to, share);
            assert!((got[0] - 2.0 * cos).abs() < 1e-6 && (got[1] - 2.0 * sin).abs() < 1e-6);
        }
    }

    #[test]
    fn where_there_is_no_arc_the_line_is_straight() {
        assert_eq!(slerp(&[1.0, 1.0], &[3.0, 3.0], 0.5), [2.0, 2.0]);
        assert_eq!(slerp(&[1.0, 0.0], &[-1.0, 0.0], 0.25), [0.5, 0.0]);
        assert_eq!(slerp(&[0.0, 0.0], &[1.0, 0.0], 0.5), [0.5, 0.0]);
    }
}
