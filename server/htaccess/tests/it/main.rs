//! The rules as a whole: text cases with what is expected, and bounds with their nearest accepted twins.

mod bounds;
mod case;
mod cases;
mod findings;
mod generate;
mod hostile;
mod site;
