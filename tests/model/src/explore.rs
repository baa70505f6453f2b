//! Search through all states of a scenario.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use stateright::{Checker, Expectation, HasDiscoveries, Model as _, Path};

use crate::{Protocol, Scenario, Step, World};

/// Result of a search.
#[derive(Debug)]
pub struct Found {
    /// Number of distinct states visited.
    pub states: usize,
    /// Steps that lead to a counterexample or an example, by the property's name.
    pub paths: BTreeMap<&'static str, Vec<Step>>,
}

impl Found {
    /// Returns the steps that break a property or give an example of it; `None` if the search found none.
    pub fn path(&self, property: &str) -> Option<&[Step]> {
        self.paths.get(property).map(Vec::as_slice)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} states", self.states)?;
        for (property, path) in &self.paths {
            write!(f, "\n  {property}, after {} steps:", path.len())?;
            for step in path {
                write!(f, " {step:?}")?;
            }
        }
        Ok(())
    }
}

/// Visits every state of a scenario.
pub fn exhaust(scenario: Scenario) -> Found {
    // The search stops early only when every property is decided, and a property that always holds never
    // is.
    let checker = Protocol { scenario }.checker().threads(2);
    found(&checker.spawn_bfs().join())
}

/// Visits states in order of the number of steps, until a property is decided.
pub fn find(scenario: Scenario, property: &'static str) -> Found {
    let checker = Protocol { scenario }.checker();
    let decided = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    found(&checker.finish_when(decided).spawn_bfs().join())
}

fn found(checker: &impl Checker<Protocol>) -> Found {
    let discoveries = checker.discoveries().into_iter();
    Found {
        states: checker.unique_state_count(),
        paths: discoveries
            .map(|(name, path)| (name, shortened(checker.model(), name, path)))
            .collect(),
    }
}

/// Returns the steps up to the first state that decides a property. The checker continues beyond that state
/// and reports the last path that it met.
fn shortened(model: &Protocol, name: &'static str, path: Path<World, Step>) -> Vec<Step> {
    let property = model.property(name);
    let decides = property.expectation == Expectation::Sometimes;
    let states = path.into_vec().into_iter();
    let undecided = states.take_while(|(state, _)| (property.condition)(model, state) != decides);
    undecided.filter_map(|(_, step)| step).collect()
}
