//! Line drawings that are written as SVG and as PNG.

use anyhow::{Context, Result};
use std::fmt::Write as _;
use tiny_skia::{FillRule, Paint, PathBuilder, Pixmap, Stroke, Transform};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// Pixels of the PNG for each unit of the drawing.
const PNG_SCALE: f32 = 2.0;
/// The font of the PNG. Viewers of SVG use their own.
const FONT: &[u8] = include_bytes!("../../assets/font/DejaVuSans-subset.ttf");

/// The color of a shape. SVG uses another shade on dark pages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Color {
    Ground,
    Text,
    Axis,
    Grid,
    Red,
    Blue,
    Green,
}

impl Color {
    const ALL: [Self; 7] =
        [Self::Ground, Self::Text, Self::Axis, Self::Grid, Self::Red, Self::Blue, Self::Green];

    /// Name, colour, and colour on a dark page.
    fn shades(self) -> (&'static str, u32, u32) {
        match self {
            Self::Ground => ("ground", 0xff_ff_ff, 0x16_1b_22),
            Self::Text => ("text", 0x24_29_2f, 0xe6_ed_f3),
            Self::Axis => ("axis", 0x6e_77_81, 0x8b_94_9e),
            Self::Grid => ("grid", 0xe4_e7_eb, 0x30_36_3d),
            Self::Red => ("red", 0xd1_3b_2e, 0xff_7b_72),
            Self::Blue => ("blue", 0x1f_6f_c5, 0x58_a6_ff),
            Self::Green => ("green", 0x1a_7f_37, 0x3f_b9_50),
        }
    }

    fn paint(self) -> Paint<'static> {
        let [_, red, green, blue] = self.shades().1.to_be_bytes();
        let mut paint = Paint::default();
        paint.set_color_rgba8(red, green, blue, u8::MAX);
        paint
    }
}

/// The alignment of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Debug)]
enum Shape {
    Line { points: Vec<(f32, f32)>, width: f32, color: Color },
    Dot { at: (f32, f32), radius: f32, color: Color },
    Text { at: (f32, f32), size: f32, anchor: Anchor, color: Color, text: String },
}

/// A list of shapes. Later ones cover earlier ones.
#[derive(Debug)]
pub(crate) struct Drawing {
    width: f32,
    height: f32,
    shapes: Vec<Shape>,
}

impl Drawing {
    pub(crate) fn new(width: f32, height: f32) -> Self {
        Self { width, height, shapes: Vec::new() }
    }

    pub(crate) fn line(&mut self, points: Vec<(f32, f32)>, width: f32, color: Color) {
        self.shapes.push(Shape::Line { points, width, color });
    }

    pub(crate) fn dot(&mut self, at: (f32, f32), radius: f32, color: Color) {
        self.shapes.push(Shape::Dot { at, radius, color });
    }

    /// A text whose baseline goes through `at`.
    pub(crate) fn text(
        &mut self,
        at: (f32, f32),
        size: f32,
        anchor: Anchor,
        color: Color,
        text: impl Into<String>,
    ) {
        self.shapes.push(Shape::Text { at, size, anchor, color, text: text.into() });
    }

    /// The drawing as an SVG file, dark on dark pages.
    pub(crate) fn svg(&self) -> String {
        let Self { width, height, shapes } = self;
        let mut dark = String::new();
        for (name, _, shade) in Color::ALL.map(Color::shades) {
            // Writing to a string cannot fail, here and below.
            let _ = write!(dark, ".curves .{name}{{color:#{shade:06x}}}");
        }
        let coloured = |color: Color| {
            let (name, shade, _) = color.shades();
            format!("class=\"{name}\" color=\"#{shade:06x}\"")
        };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"curves\" viewBox=\"0 0 {width} \
             {height}\" font-family=\"DejaVu Sans,Verdana,sans-serif\">\n\
             <style>@media (prefers-color-scheme:dark){{{dark}}}</style>\n\
             <rect width=\"{width}\" height=\"{height}\" {} fill=\"currentColor\"/>\n",
            coloured(Color::Ground)
        );
        for shape in shapes {
            let _ = match shape {
                Shape::Line { points, width, color } => {
                    let points: Vec<String> =
                        points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                    writeln!(
                        svg,
                        "<polyline points=\"{}\" {} stroke=\"currentColor\" \
                         stroke-width=\"{width}\" stroke-linejoin=\"round\" fill=\"none\"/>",
                        points.join(" "),
                        coloured(*color)
                    )
                }
                Shape::Dot { at: (x, y), radius, color } => writeln!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" {} fill=\"currentColor\"/>",
                    coloured(*color)
                ),
                Shape::Text { at: (x, y), size, anchor, color, text } => writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{}\" {} \
                     fill=\"currentColor\">{}</text>",
                    match anchor {
                        Anchor::Start => "start",
                        Anchor::Middle => "middle",
                        Anchor::End => "end",
                    },
                    coloured(*color),
                    text.replace('&', "&amp;").replace('<', "&lt;")
                ),
            };
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// The drawing as a PNG file.
    ///
    /// # Errors
    /// A drawing without an area.
    pub(crate) fn png(&self) -> Result<Vec<u8>> {
        let (width, height) = (self.width * PNG_SCALE, self.height * PNG_SCALE);
        let mut pixmap = Pixmap::new(width as u32, height as u32).context("an empty drawing")?;
        let font = Face::parse(FONT, 0).context("the font of drawings")?;
        let [_, red, green, blue] = Color::Ground.shades().1.to_be_bytes();
        pixmap.fill(tiny_skia::Color::from_rgba8(red, green, blue, u8::MAX));
        let scaled = Transform::from_scale(PNG_SCALE, PNG_SCALE);
        for shape in &self.shapes {
            let mut path = PathBuilder::new();
            let (color, transform) = match shape {
                Shape::Line { points, width, color } => {
                    for (i, (x, y)) in points.iter().enumerate() {
                        if i == 0 { path.move_to(*x, *y) } else { path.line_to(*x, *y) }
                    }
                    // A single point has no path.
                    if let Some(path) = path.finish() {
                        let line_join = tiny_skia::LineJoin::Round;
                        let stroke = Stroke { width: *width, line_join, ..Stroke::default() };
                        pixmap.stroke_path(&path, &color.paint(), &stroke, scaled, None);
                    }
                    continue;
                }
                Shape::Dot { at: (x, y), radius, color } => {
                    path.push_circle(*x, *y, *radius);
                    (color, scaled)
                }
                Shape::Text { at: (x, y), size, anchor, color, text } => {
                    let mut letters = Letters { path, left: 0.0 };
                    letters.write(&font, text);
                    path = letters.path;
                    let left = match anchor {
                        Anchor::Start => 0.0,
                        Anchor::Middle => letters.left / 2.0,
                        Anchor::End => letters.left,
                    };
                    // A font's units go up.
                    let unit = size / f32::from(font.units_per_em());
                    let placed = Transform::from_row(unit, 0.0, 0.0, -unit, x - left * unit, *y);
                    (color, placed.post_concat(scaled))
                }
            };
            // A text of spaces has no path either.
            if let Some(path) = path.finish() {
                pixmap.fill_path(&path, &color.paint(), FillRule::Winding, transform, None);
            }
        }
        encode(&pixmap)
    }
}

/// Returns the width of a text in the font of the PNG.
pub(crate) fn text_width(text: &str, size: f32) -> f32 {
    let Ok(font) = Face::parse(FONT, 0) else { return 0.0 };
    let advance = |c| f32::from(font.glyph_hor_advance(glyph(&font, c)).unwrap_or(0));
    text.chars().map(advance).sum::<f32>() * size / f32::from(font.units_per_em())
}

/// A character's glyph, or the placeholder if the font lacks it.
fn glyph(font: &Face<'_>, c: char) -> GlyphId {
    font.glyph_index(c).unwrap_or_default()
}

/// Encodes an opaque image as a PNG file.
fn encode(pixmap: &Pixmap) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, pixmap.width(), pixmap.height());
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixmap.data())?;
    writer.finish()?;
    Ok(bytes)
}

/// The outlines of a text's letters, in the font's units.
struct Letters {
    path: PathBuilder,
    left: f32,
}

impl Letters {
    fn write(&mut self, font: &Face<'_>, text: &str) {
        for c in text.chars() {
            let id = glyph(font, c);
            // A space has no outline.
            font.outline_glyph(id, self);
            self.left += f32::from(font.glyph_hor_advance(id).unwrap_or(0));
        }
    }
}

impl OutlineBuilder for Letters {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.move_to(self.left + x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.path.line_to(self.left + x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.path.quad_to(self.left + x1, y1, self.left + x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.path.cubic_to(self.left + x1, y1, self.left + x2, y2, self.left + x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Width of the image and its pixels, RGBA.
    fn decode(png: &[u8]) -> Result<(usize, Vec<u8>)> {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info()?;
        let mut pixels = vec![0; reader.output_buffer_size().context("no size")?];
        let width = reader.next_frame(&mut pixels)?.width;
        Ok((width as usize, pixels))
    }

    #[test]
    fn both_files_show_the_same_shapes() -> Result<()> {
        let mut drawing = Drawing::new(40.0, 20.0);
        drawing.line(vec![(0.0, 10.0), (40.0, 10.0)], 2.0, Color::Red);
        drawing.dot((30.0, 5.0), 3.0, Color::Blue);
        drawing.text((2.0, 8.0), 8.0, Anchor::Start, Color::Text, "a<b & c");
        let svg = drawing.svg();
        assert!(svg.contains("<polyline points=\"0.0,10.0 40.0,10.0\" class=\"red\""), "{svg}");
        assert!(svg.contains("<circle cx=\"30.0\" cy=\"5.0\" r=\"3\" class=\"blue\""), "{svg}");
        assert!(svg.contains("text-anchor=\"start\"") && svg.contains(">a&lt;b &amp; c</text>"));
        assert!(svg.contains("prefers-color-scheme:dark") && svg.contains("color=\"#d13b2e\""));

        let (width, pixels) = decode(&drawing.png()?)?;
        assert_eq!((width, pixels.len()), (80, 80 * 40 * 4));
        let at = |x: usize, y: usize| &pixels[(y * width + x) * 4..][..4];
        assert_eq!(at(70, 20), [0xd1, 0x3b, 0x2e, 255]);
        assert_eq!(at(60, 10), [0x1f, 0x6f, 0xc5, 255]);
        assert_eq!(at(70, 35), [255; 4]);
        // Somewhere above the line, and left of the dot, stand the letters.
        let dark = |i: &usize| pixels[i * 4] < 0x60 && i % width < 50 && i / width < 17;
        assert!((0..width * 40).filter(dark).count() > 10);
        Ok(())
    }

    #[test]
    fn texts_are_measured_and_anchored() -> Result<()> {
        assert_eq!(text_width("", 10.0), 0.0);
        let width = text_width("iiii", 10.0);
        assert!((text_width("iiiiiiii", 20.0) - 4.0 * width).abs() < 1e-3 && width > 5.0);
        // Columns of the PNG that are not blank: the letters' own width, wherever they are anchored.
        let columns = |anchor| -> Result<Vec<usize>> {
            let mut drawing = Drawing::new(60.0, 20.0);
            drawing.text((30.0, 15.0), 10.0, anchor, Color::Text, "HH");
            let (width, pixels) = decode(&drawing.png()?)?;
            let inked = |x: &usize| (0..40).any(|y| pixels[(y * width + x) * 4] < 128);
            Ok((0..width).filter(inked).collect())
        };
        let bounds = |columns: &[usize]| (columns[0], columns[columns.len() - 1]);
        let (start, end) = (bounds(&columns(Anchor::Start)?), bounds(&columns(Anchor::End)?));
        assert!(start.0 >= 60 && end.1 < 60, "{start:?} {end:?}");
        let middle = bounds(&columns(Anchor::Middle)?);
        assert!((middle.0 + middle.1).abs_diff(120) <= 2, "{middle:?}");
        Ok(())
    }
}
