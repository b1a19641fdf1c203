//! Connected components of hot pixels, by runs: rows are short lists of intervals, so that labelling costs little more
//! than comparing every pixel with the threshold. (imageproc's `connected_components` makes a label image and a forest
//! of the picture's size on every call.)

/// Hot pixels next to each other in one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub y: usize,
    pub start: usize,
    /// One past the last pixel.
    pub end: usize,
    /// Index into [`Labels::components`], once labelling is done.
    pub component: usize,
}

/// Hot pixels that touch, corners included (8-connectivity).
#[derive(Debug, Clone, Copy)]
pub(super) struct Component {
    /// Pixels.
    pub area: usize,
    pub heat_sum: f64,
    pub peak: f32,
    /// Topmost row, and in it the leftmost pixel: (x, y).
    pub first: (usize, usize),
    /// Columns, the last one excluded.
    pub columns: (usize, usize),
    /// Rows, the last one excluded.
    pub rows: (usize, usize),
}

/// Runs and components of one heat grid; buffers are reused.
#[derive(Debug, Default)]
pub(super) struct Labels {
    pub runs: Vec<Run>,
    pub components: Vec<Component>,
    parents: Vec<usize>,
}

impl Labels {
    /// Labels the pixels of `heat` (rows of `width`) that are at least `threshold`.
    pub fn label(&mut self, heat: &[f32], width: usize, threshold: f32) {
        self.runs.clear();
        self.components.clear();
        self.parents.clear();
        let mut above = 0..0;
        for (y, row) in heat.chunks_exact(width).enumerate() {
            let begin = self.runs.len();
            let mut x = 0;
            while let Some(skip) = row[x..].iter().position(|h| *h >= threshold) {
                let start = x + skip;
                let end = row[start..].iter().position(|h| *h < threshold).map_or(width, |n| start + n);
                self.add_run(Run { y, start, end, component: self.parents.len() }, above.clone());
                x = end;
            }
            above = begin..self.runs.len();
        }
        self.number_components(heat, width);
    }

    /// Adds a run with a label of its own, joined with every run above that touches it.
    fn add_run(&mut self, run: Run, above: std::ops::Range<usize>) {
        self.parents.push(run.component);
        for i in above {
            let other = self.runs[i];
            if other.start <= run.end && run.start <= other.end {
                let (a, b) = (self.root(other.component), self.root(run.component));
                // The smaller label wins, so that a root is its component's first run.
                self.parents[a.max(b)] = a.min(b);
            }
        }
        self.runs.push(run);
    }

    fn root(&mut self, mut label: usize) -> usize {
        while self.parents[label] != label {
            self.parents[label] = self.parents[self.parents[label]];
            label = self.parents[label];
        }
        label
    }

    fn number_components(&mut self, heat: &[f32], width: usize) {
        for i in 0..self.runs.len() {
            let run = self.runs[i];
            // One label per run, so a label is also the index of its run; roots come before what they hold.
            let root = self.root(i);
            let component = if root == i { self.components.len() } else { self.runs[root].component };
            self.runs[i].component = component;
            if root == i {
                self.components.push(Component {
                    area: 0,
                    heat_sum: 0.0,
                    peak: 0.0,
                    first: (run.start, run.y),
                    columns: (run.start, run.end),
                    rows: (run.y, run.y + 1),
                });
            }
            let pixels = &heat[run.y * width..][run.start..run.end];
            let c = &mut self.components[component];
            c.area += pixels.len();
            c.heat_sum += sum(pixels);
            c.peak = pixels.iter().fold(c.peak, |peak, h| if *h > peak { *h } else { peak });
            c.columns = (c.columns.0.min(run.start), c.columns.1.max(run.end));
            c.rows.1 = run.y + 1;
        }
    }
}

/// Sum of heat; eight partial sums, because one after the other would wait for each addition.
pub(super) fn sum(values: &[f32]) -> f64 {
    let (groups, rest) = values.as_chunks::<8>();
    let mut lanes = [0.0_f32; 8];
    for group in groups {
        for (lane, value) in lanes.iter_mut().zip(group) {
            *lane += value;
        }
    }
    lanes.iter().chain(rest).map(|v| f64::from(*v)).sum()
}
