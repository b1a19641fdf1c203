//! Curves as inline SVG.

const WIDTH: f64 = 290.0;
const HEIGHT: f64 = 120.0;
/// Points of a curve, at most; each is the mean of as many steps as it takes.
const POINTS: usize = 200;

/// A column of the metrics over the steps.
#[derive(Debug, PartialEq)]
pub(super) struct Curve {
    name: String,
    /// Means of equally many successive values.
    values: Vec<f64>,
}

/// Losses and scores of a metrics file: each column that has values, places and learning rate aside.
pub(super) fn curves(csv: &str) -> Vec<Curve> {
    const PLACES: [&str; 4] = ["epoch", "step", "lr", "test_items"];
    let mut lines = csv.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    for line in lines {
        for (column, cell) in columns.iter_mut().zip(line.split(',')) {
            column.extend(cell.parse::<f64>().ok().filter(|value| value.is_finite()));
        }
    }
    let wanted = names.into_iter().zip(columns).filter(|(name, values)| !PLACES.contains(name) && !values.is_empty());
    wanted.map(|(name, values)| Curve { name: name.to_owned(), values: thinned(&values) }).collect()
}

fn thinned(values: &[f64]) -> Vec<f64> {
    let each = values.len().div_ceil(POINTS).max(1);
    values.chunks(each).map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64).collect()
}

impl Curve {
    /// A figure with the least, the greatest and the last value.
    pub fn svg(&self) -> String {
        let (low, high) = self
            .values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
        let range = if high > low { high - low } else { 1.0 };
        let across = (self.values.len().max(2) - 1) as f64;
        let points: Vec<String> = self
            .values
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let (x, y) = (WIDTH * index as f64 / across, HEIGHT * (high - value) / range);
                format!("{:.1},{:.1}", x + 4.0, y + 4.0)
            })
            .collect();
        let mark = match (&points[..], self.values.last()) {
            // A line of one point is not drawn.
            ([only], _) => {
                let (x, y) = only.split_once(',').unwrap_or_default();
                format!("<circle cx={x} cy={y} r=3 fill=#2563a8 />")
            }
            _ => format!(
                "<polyline points=\"{}\" fill=none stroke=#2563a8 stroke-width=1.6 stroke-linejoin=round />",
                points.join(" ")
            ),
        };
        let last = self.values.last().copied().unwrap_or(f64::NAN);
        let (width, height) = (WIDTH + 8.0, HEIGHT + 8.0);
        format!(
            "<figure><svg width={width} height={height} role=img aria-label=\"{name}\"><rect width=100% height=100% \
             fill=#f4f6f9 rx=4 />{mark}</svg><figcaption>{name}: {last:.4} (from {low:.4} to {high:.4})</figcaption>\
             </figure>",
            name = super::escaped(&self.name),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_with_values_are_curves() {
        let csv = "epoch,step,lr,cls,total,test_items,test_kld\n1,1,0.1,2,3,,\n1,2,0.1,4,5,,\n1,2,,,,4,0.5\n";
        let found = curves(csv);
        let expected = [("cls", vec![2.0, 4.0]), ("total", vec![3.0, 5.0]), ("test_kld", vec![0.5])];
        assert_eq!(found, expected.map(|(name, values)| Curve { name: name.to_owned(), values }));
        assert!(found[0].svg().contains("points=\"4.0,124.0 294.0,4.0\""), "{}", found[0].svg());
        assert!(found[2].svg().contains("<circle"));
    }

    #[test]
    fn long_curves_are_thinned_by_means() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        let thin = thinned(&values);
        assert_eq!((thin.len(), thin[0]), (200, 2.0));
    }
}
