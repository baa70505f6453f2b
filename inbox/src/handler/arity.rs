//! The numbers of extractors that a handler may take.

/// Applies a macro to the type parameters of none to eight extractors.
macro_rules! each_arity {
    ($apply:ident) => {
        $apply!();
        $apply!(T1);
        $apply!(T1 T2);
        $apply!(T1 T2 T3);
        $apply!(T1 T2 T3 T4);
        $apply!(T1 T2 T3 T4 T5);
        $apply!(T1 T2 T3 T4 T5 T6);
        $apply!(T1 T2 T3 T4 T5 T6 T7);
        $apply!(T1 T2 T3 T4 T5 T6 T7 T8);
    };
}

pub(super) use each_arity;
