//! The versions of one type's body: which handler takes each, and the steps from an older version to it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::Value;

use super::{BoxError, Disposition, HandlerError};

/// Version of a body whose message has none: the default of `EventType::VERSION`.
const UNNAMED: u32 = 1;

/// A step that turns a body of one version into the next version's.
type StepFn = dyn Fn(Value) -> Result<Value, BoxError> + Send + Sync;

/// A step from one version of a body to the next.
#[derive(Clone)]
pub(crate) struct Step {
    /// Version of the body that the step takes.
    from: u32,
    run: Arc<StepFn>,
}

impl Step {
    /// Creates the step that takes bodies of version `from`.
    pub(crate) fn new(
        from: u32,
        run: impl Fn(Value) -> Result<Value, BoxError> + Send + Sync + 'static,
    ) -> Self {
        let run = Arc::new(run);
        Self { from, run }
    }

    /// Turns a body into the next version's.
    ///
    /// # Errors
    /// Fails as undecodable, and names the step.
    pub(crate) fn run(&self, body: Value) -> Result<Value, HandlerError> {
        (self.run)(body).map_err(|error| {
            let (from, to) = (self.from, self.from.saturating_add(1));
            let failed = Upcasting { from, to, error };
            HandlerError::new(Disposition::Undecodable, failed)
        })
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Step").field(&self.from).finish()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot turn the body's version {from} into version {to}")]
struct Upcasting {
    from: u32,
    to: u32,
    #[source]
    error: BoxError,
}

/// A mistake in the versions of a type, found when the consumer is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionMistake {
    /// No body passes the step from this version: a handler takes this version, or none takes a later one.
    UselessStep(u32),
    /// An older body would stop at this version, which has neither a step nor a handler.
    MissingStep(u32),
}

/// The way of one version of a type: to a handler here, or to a process of a later release.
#[derive(Debug)]
pub(crate) enum Route<'a, H> {
    /// Calls the handler of version `version`, after the steps.
    Known {
        handler: &'a H,
        version: u32,
        steps: Vec<Step>,
    },
    /// Leaves the message to a process that knows the version: `newest` is the newest one that this process knows.
    Newer { newest: u32 },
}

/// The handlers of a type, by the version of the body that each takes, and the steps between versions.
#[derive(Debug, Clone)]
pub(crate) struct Versions<H> {
    handlers: BTreeMap<u32, H>,
    steps: BTreeMap<u32, Step>,
}

impl<H> Default for Versions<H> {
    fn default() -> Self {
        Self {
            handlers: BTreeMap::new(),
            steps: BTreeMap::new(),
        }
    }
}

impl<H> Versions<H> {
    /// Adds the handler of a version; returns `false` if it replaced another one.
    pub(crate) fn insert(&mut self, version: u32, handler: H) -> bool {
        self.handlers.insert(version, handler).is_none()
    }

    /// Adds a step; returns `false` if it replaced another one.
    pub(crate) fn insert_step(&mut self, step: Step) -> bool {
        self.steps.insert(step.from, step).is_none()
    }

    pub(crate) fn handlers(&self) -> impl Iterator<Item = &H> {
        self.handlers.values()
    }

    /// Returns the newest version that a handler takes; `None` without a handler.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.handlers.last_key_value().map(|(&version, _)| version)
    }

    /// Finds the handler of a message's version: the handler of that version, or of the next later one that has a
    /// handler. `None` without any handler. A message without a version counts as version 1.
    pub(crate) fn route(&self, version: Option<u32>) -> Option<Route<'_, H>> {
        let version = version.unwrap_or(UNNAMED);
        let newest = self.newest()?;
        let Some((&taken, handler)) = self.handlers.range(version..).next() else {
            return Some(Route::Newer { newest });
        };
        Some(Route::Known {
            handler,
            version: taken,
            steps: self.steps(Some(version), taken),
        })
    }

    /// Returns the handler of a version.
    pub(crate) fn handler(&self, version: u32) -> Option<&H> {
        self.handlers.get(&version)
    }

    /// Returns the steps from a message's version to a later one.
    pub(crate) fn steps(&self, from: Option<u32>, to: u32) -> Vec<Step> {
        let versions = from.unwrap_or(UNNAMED).min(to)..to;
        let steps = self.steps.range(versions);
        steps.map(|(_, step)| step.clone()).collect()
    }

    /// Returns the first mistake; `None` if from the first step on each version leads to a handler.
    pub(crate) fn mistake(&self) -> Option<VersionMistake> {
        let (&first, _) = self.steps.first_key_value()?;
        let newest = self.newest().unwrap_or(0);
        let mut steps = self.steps.keys().copied();
        let useless = steps.find(|&from| from >= newest || self.handlers.contains_key(&from));
        let mut versions = first..newest;
        let missing = versions
            .find(|from| !self.steps.contains_key(from) && !self.handlers.contains_key(from));
        let useless = useless.map(VersionMistake::UselessStep);
        useless.or(missing.map(VersionMistake::MissingStep))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::VersionMistake::{MissingStep, UselessStep};
    use super::{Route, Step, Versions};

    fn step(from: u32) -> Step {
        Step::new(from, move |body: Value| Ok(json!([body, from])))
    }

    fn versions(handlers: &[u32], steps: &[u32]) -> Versions<u32> {
        let mut versions = Versions::default();
        for &version in handlers {
            assert!(versions.insert(version, version));
        }
        for &from in steps {
            assert!(versions.insert_step(step(from)));
        }
        versions
    }

    fn routed(versions: &Versions<u32>, version: Option<u32>) -> String {
        match versions.route(version).unwrap() {
            Route::Known { handler, steps, .. } => {
                let body = steps.iter().try_fold(json!(0), |body, step| step.run(body));
                format!("{handler}: {}", body.unwrap())
            }
            Route::Newer { newest } => format!("newer than {newest}"),
        }
    }

    #[test]
    fn an_older_body_passes_each_step_to_the_next_handler() {
        let versions = versions(&[2, 5], &[1, 3, 4]);
        assert_eq!(routed(&versions, Some(1)), "2: [0,1]");
        assert_eq!(routed(&versions, None), "2: [0,1]");
        assert_eq!(routed(&versions, Some(2)), "2: 0");
        assert_eq!(routed(&versions, Some(3)), "5: [[0,3],4]");
        assert_eq!(routed(&versions, Some(5)), "5: 0");
        assert_eq!(routed(&versions, Some(6)), "newer than 5");
        assert_eq!(versions.mistake(), None);
    }

    #[test]
    fn without_steps_an_older_body_is_read_as_it_is() {
        let versions = versions(&[3], &[]);
        assert_eq!(routed(&versions, Some(0)), "3: 0");
        assert_eq!(versions.mistake(), None);
    }

    #[test]
    fn a_step_that_leads_nowhere_or_a_gap_is_a_mistake() {
        let mistake = |handlers, steps| versions(handlers, steps).mistake();
        assert_eq!(mistake(&[1], &[1]), Some(UselessStep(1)));
        assert_eq!(mistake(&[1, 2], &[1]), Some(UselessStep(1)));
        assert_eq!(mistake(&[], &[1]), Some(UselessStep(1)));
        assert_eq!(mistake(&[4], &[1, 3]), Some(MissingStep(2)));
        assert_eq!(mistake(&[2, 4], &[1, 3]), None);
        // No message of an older version than the first step's is left: they are read as they are.
        assert_eq!(mistake(&[4], &[3]), None);
    }

    #[test]
    fn a_step_that_fails_is_named() {
        let step = Step::new(3, |_| Err("no customer".into()));
        let error = step.run(Value::Null).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot turn the body's version 3 into version 4: no customer"
        );
    }
}
