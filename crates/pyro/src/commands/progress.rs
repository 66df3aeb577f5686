//! Progress of long work on standard error: a bar on a terminal, otherwise the contract's plain lines.

use std::io::IsTerminal as _;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use pyro_api::{
    environment::Progress,
    workspace::progress::{WorkEvent, WorkProgress},
};

use super::stream::Watcher;
use crate::output;

/// Shows how far something has come; nothing until there is something to show.
#[derive(Debug)]
pub(crate) struct Indicator {
    command: &'static str,
    environment: String,
    shown: Shown,
    last_step: String,
}

#[derive(Debug)]
enum Shown {
    Nothing,
    Lines,
    Bar(ProgressBar),
}

const BAR_UNITS: u64 = 1000;

impl Indicator {
    /// Speaks as `[command]` about that environment, or not at all.
    pub(crate) fn new(command: &'static str, environment: &str, speaks: bool) -> Self {
        let shown = match speaks {
            false => Shown::Nothing,
            true if std::io::stderr().is_terminal() => Shown::Bar(hidden_bar()),
            true => Shown::Lines,
        };
        Self { command, environment: environment.to_owned(), shown, last_step: String::new() }
    }

    /// One of the contract's phase lines.
    pub(crate) fn phase(&self, phase: &str) {
        if !matches!(self.shown, Shown::Nothing) {
            output::note(format!("[{}] phase={phase} environment={}", self.command, self.environment));
        }
    }

    /// A bar, and nothing where there is no terminal to show it on.
    pub(crate) fn bar_only() -> Self {
        let speaks = std::io::stderr().is_terminal();
        Self::new("workspace", "", speaks)
    }

    pub(crate) fn show(&mut self, progress: &Progress) {
        self.show_step(&progress.step, &progress.detail, progress.fraction);
    }

    fn show_work(&mut self, progress: &WorkProgress) {
        let mut detail = progress.detail.clone();
        if progress.bytes > 0 {
            detail = format!("{} {detail}", HumanBytes(progress.bytes));
        }
        self.show_step(&progress.step, &detail, progress.fraction);
    }

    fn show_step(&mut self, step: &str, detail: &str, fraction: Option<f64>) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Lines if self.last_step == step => {}
            Shown::Lines => {
                let step = output::printable(step);
                output::note(format!("[{}] step=\"{step}\" environment={}", self.command, self.environment));
            }
            Shown::Bar(bar) => {
                if bar.is_hidden() {
                    bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                    bar.enable_steady_tick(std::time::Duration::from_millis(200));
                }
                if let Some(fraction) = fraction {
                    bar.set_position(units(fraction));
                }
                let style = ProgressStyle::with_template(template(fraction.is_some()));
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_message(output::printable(format!("{step} {detail}").trim_end()));
            }
        }
        step.clone_into(&mut self.last_step);
    }

    /// Clears a bar away.
    pub(crate) fn finish(&mut self) {
        if let Shown::Bar(bar) = &self.shown
            && !bar.is_hidden()
        {
            bar.finish_and_clear();
            self.shown = Shown::Bar(hidden_bar());
        }
    }
}

impl Watcher<WorkEvent> for Indicator {
    fn event(&mut self, WorkEvent::Progress(progress): WorkEvent) {
        self.show_work(&progress);
    }

    fn clear(&mut self) {
        self.finish();
    }
}

impl Drop for Indicator {
    fn drop(&mut self) {
        self.finish();
    }
}

fn hidden_bar() -> ProgressBar {
    ProgressBar::with_draw_target(Some(BAR_UNITS), indicatif::ProgressDrawTarget::hidden())
}

/// A bar where it is known how much there is in all, and otherwise a sign of life.
fn template(is_measured: bool) -> &'static str {
    match is_measured {
        true => "{bar:30} {percent:>3}% {elapsed:>4} {wide_msg}",
        false => "{spinner} {elapsed:>4} {wide_msg}",
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the share is clamped to 0..=1 first"
)]
fn units(fraction: f64) -> u64 {
    (fraction.clamp(0.0, 1.0) * 1000.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_share_only_where_it_is_known() {
        assert!(template(true).contains("{percent"));
        assert!(!template(false).contains("{percent") && !template(false).contains("{bar"));
        assert_eq!([-1.0, 0.0, 0.5, 2.0].map(units), [0, 0, 500, BAR_UNITS]);
    }
}
