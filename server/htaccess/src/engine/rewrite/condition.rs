//! Whether a condition holds.

use super::template::Context;
use crate::engine::Engine;
use crate::hit::Hit;
use crate::limits::Exhausted;
use crate::rewrite::{Condition, Test};
use crate::text::number;

impl Engine<'_> {
    /// Whether all conditions of a rule hold; `OR` joins neighbours.
    pub(super) fn conditions_hold(
        &mut self,
        conditions: &[std::sync::Arc<Condition>],
        hit: &mut Hit,
        context: &mut Context,
    ) -> Result<bool, Exhausted> {
        let mut index = 0;
        while let Some(condition) = conditions.get(index) {
            let kept = context.vary.len();
            let holds = self.condition_holds(condition, hit, context)?;
            if condition.no_vary || (condition.or_next && !holds) {
                context.vary.truncate(kept);
            }
            if condition.or_next {
                // The last one of the chain is skipped with it.
                while holds && conditions.get(index).is_some_and(|c| c.or_next) {
                    index += 1;
                }
            } else if !holds {
                return Ok(false);
            }
            index += 1;
        }
        Ok(true)
    }

    fn condition_holds(
        &mut self,
        condition: &Condition,
        hit: &mut Hit,
        context: &mut Context,
    ) -> Result<bool, Exhausted> {
        self.budget.spend(4)?;
        if let Test::Expression(expression) = &condition.test {
            let mut groups = None;
            let kept = hit.vary.len();
            let holds = self.holds(expression, hit, &mut groups)?;
            if condition.no_vary {
                hit.vary.truncate(kept);
            }
            if holds && !condition.negative {
                context.condition = groups;
            }
            return Ok(holds != condition.negative);
        }
        let input = self.expand(&condition.input, hit, context, None, false)?;
        let input = input.text;
        let holds = match &condition.test {
            Test::Matches(pattern) => match condition.negative {
                true => pattern.is_match(&input, &mut self.budget)?,
                false => match pattern.find(&input, &mut self.budget)? {
                    Some(groups) => {
                        context.condition = Some(groups);
                        true
                    }
                    None => false,
                },
            },
            Test::Expression(_) => unreachable!("looked at above"),
            Test::File => self.stat(&input).is_some_and(|s| s.is_file()),
            Test::NotEmptyFile => self.stat(&input).is_some_and(|s| s.is_file() && s.size > 0),
            Test::Directory => self.stat(&input).is_some_and(|s| s.is_directory()),
            Test::Symlink => self.is_symlink(&input),
            Test::Executable => self.stat(&input).is_some_and(|s| s.executable),
            Test::UrlAllowed => self.is_url_allowed(&input, hit)?,
            Test::FileAllowed => self.is_file_allowed(&input, hit)?,
            Test::Text(order, wanted, any_case) => order.accepts(match any_case {
                true => input.to_ascii_lowercase().cmp(&wanted.to_ascii_lowercase()),
                false => input.len().cmp(&wanted.len()).then(input.cmp(wanted)),
            }),
            Test::Number(order, wanted) => order.accepts(number(&input).cmp(wanted)),
        };
        Ok(holds != condition.negative)
    }
}
