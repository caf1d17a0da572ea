//! The variables of a request, as the guest gets them.

use crate::setup::Pairs;

/// Tells the guest that nobody will ask this instance again, so that it need not tidy up.
const LAST_REQUEST: &[u8] = b"ZAPP_LAST_REQUEST";

/// The value of a variable; empty when it is missing.
pub(crate) fn value<'a>(variables: &'a Pairs, wanted: &[u8]) -> &'a [u8] {
    variables
        .iter()
        .find(|(name, _)| name == wanted)
        .map_or(&[], |(_, value)| value)
}

/// The address asked for, for people.
pub(crate) fn uri(variables: &Pairs) -> String {
    imagefs::printable(value(variables, b"REQUEST_URI"))
}

/// The variables with some of them replaced or added.
pub(crate) fn with<N: AsRef<[u8]>, V: AsRef<[u8]>>(variables: &Pairs, others: &[(N, V)]) -> Pairs {
    let mut all: Pairs = variables
        .iter()
        .filter(|(name, _)| !others.iter().any(|(other, _)| other.as_ref() == name))
        .cloned()
        .collect();
    all.extend(
        others
            .iter()
            .map(|(name, value)| (name.as_ref().to_vec(), value.as_ref().to_vec())),
    );
    all
}

/// The variables of a request that is its instance's last.
pub(crate) fn last(mut variables: Pairs) -> Pairs {
    variables.push((LAST_REQUEST.to_vec(), b"1".to_vec()));
    variables
}
