//! Interpolation between latent vectors.

/// Spherical linear interpolation of two latent vectors: `from` at `t` = 0, `to` at `t` = 1.
///
/// Vectors of a high-dimensional standard normal distribution lie near a sphere. Points of the arc
/// between them do too, while points of the straight line are nearer to 0 than any latent vector
/// that a generator was trained on. Vectors in the same or in opposite directions have no unique
/// arc; they are interpolated linearly.
///
/// # Shapes
/// `from`, `to`: two vectors of one length. If one is longer, its further values are ignored.
/// # Reference
/// White 2016, "Sampling generative networks".
pub fn slerp(from: &[f32], to: &[f32], t: f32) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let t = f64::from(t);
    let norms = (dot(from, from) * dot(to, to)).sqrt();
    let angle = (dot(from, to) / norms).clamp(-1.0, 1.0).acos();
    let (first, second) = if angle.sin() > 1e-6 {
        (((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin())
    } else {
        (1.0 - t, t)
    };
    let mix = |(a, b): (&f32, &f32)| (first * f64::from(*a) + second * f64::from(*b)) as f32;
    from.iter().zip(to).map(mix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_at_known_angles() {
        let (from, to) = ([2.0, 0.0], [0.0, 2.0]);
        for (t, angle) in [(0.0, 0.0f32), (1.0 / 3.0, 30.0), (0.5, 45.0), (1.0, 90.0)] {
            let (sin, cos) = angle.to_radians().sin_cos();
            let got = slerp(&from, &to, t);
            assert!((got[0] - 2.0 * cos).abs() < 1e-6 && (got[1] - 2.0 * sin).abs() < 1e-6);
        }
    }

    #[test]
    fn without_a_unique_arc_interpolation_is_linear() {
        assert_eq!(slerp(&[1.0, 1.0], &[3.0, 3.0], 0.5), [2.0, 2.0]);
        assert_eq!(slerp(&[1.0, 0.0], &[-1.0, 0.0], 0.25), [0.5, 0.0]);
        assert_eq!(slerp(&[0.0, 0.0], &[1.0, 0.0], 0.5), [0.5, 0.0]);
    }
}
