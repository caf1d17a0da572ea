//! The rules as a whole: text cases with what is expected, bounds with their nearest accepted twins, and a comparison
//! with a real Apache.

mod apache;
mod bounds;
mod case;
mod cases;
mod findings;
mod generate;
mod hostile;
mod site;
