//! An SVG chart of the figures' ratios.

use std::fmt::Write as _;

use crate::figure::Figure;

const ROW: usize = 22;
const LEFT: usize = 330;
const WIDTH: usize = 480;

/// Number of doublings of the ratio from the middle to the right edge.
const DOUBLINGS: f64 = 4.0;

/// Draws one bar for each figure, from the line at which ours equals the limit. The scale is logarithmic:
/// 1/16 at the left edge, 16 at the right edge.
pub(crate) fn svg(figures: &[Figure]) -> String {
    let height = ROW * (figures.len() + 2);
    let middle = LEFT + WIDTH / 2;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{middle}\" y=\"15\" text-anchor=\"middle\">ours / limit</text>\n",
        LEFT + WIDTH + 90
    );
    for (index, figure) in figures.iter().enumerate() {
        let y = ROW * (index + 1);
        let (from, to) = (position(1.0), position(figure.ratio));
        let (x, length) = (from.min(to), (to - from).abs().max(1.0));
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{x:.1}\" y=\"{}\" width=\"{length:.1}\" height=\"{}\" fill=\"#4477aa\"/>\
             <text x=\"{}\" y=\"{}\">{:.2}</text>",
            LEFT - 8,
            y + 15,
            escaped(&figure.name),
            y + 4,
            ROW - 8,
            LEFT + WIDTH + 8,
            y + 15,
            figure.ratio
        );
    }
    let bottom = height - ROW / 2;
    let _ = write!(
        svg,
        "<line x1=\"{middle}\" y1=\"{ROW}\" x2=\"{middle}\" y2=\"{bottom}\" stroke=\"black\"/>\n</svg>\n"
    );
    svg
}

fn position(ratio: f64) -> f64 {
    let steps = if ratio.is_finite() && ratio > 0.0 {
        ratio.log2().clamp(-DOUBLINGS, DOUBLINGS)
    } else {
        0.0
    };
    LEFT as f64 + WIDTH as f64 * (steps / DOUBLINGS + 1.0) / 2.0
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::{position, svg};
    use crate::figure::Figure;

    #[test]
    fn every_figure_has_a_bar_within_the_chart() {
        let figures = [
            Figure::single("a<b", 1.0, 2.0, "u"),
            Figure::single("none", 0.0, 0.0, "u"),
            Figure::single("much", 1e9, 1.0, "u"),
        ];
        let svg = svg(&figures);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<rect").count(), 1 + figures.len());
        assert!(svg.contains("a&lt;b"));
        for figure in &figures {
            let x = position(figure.ratio);
            assert!((330.0..=810.0).contains(&x), "{x}");
        }
    }
}
