//! The code that the derive macro writes.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Data, DeriveInput, Expr, Path, Result, parse_quote, spanned::Spanned as _};

use crate::{argument::refuse, attributes::Attributes};

/// Returns the implementation of `Event` or `EventType`, and the checks of its topic and type.
///
/// # Errors
/// Fails with the first mistake of the attributes, at its place.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if let Data::Union(data) = &input.data {
        let text = "a union has no body; write a struct or an enum";
        return Err(refuse(data.union_token.span, text));
    }
    let attributes = Attributes::read(input)?;
    let Attributes {
        outbox,
        topic,
        type_name,
        version,
        order,
    } = &attributes;
    let mut generics = input.generics.clone();
    let event = if order.is_published() {
        if generics.type_params().next().is_some() {
            let bounds = generics.make_where_clause();
            let serialize = parse_quote!(Self: #outbox::derive::Serialize);
            bounds.predicates.push(serialize);
        }
        quote!(#outbox::Event)
    } else {
        quote!(#outbox::EventType)
    };
    let (parameters, arguments, bounds) = generics.split_for_impl();
    let method = order.method(outbox);
    let name = &input.ident;
    let check_topic = check(outbox, "Topic", topic);
    let check_type = type_name
        .as_ref()
        .map(|type_name| check(outbox, "TypeName", type_name));
    let type_name = type_name
        .as_ref()
        .map(|name| quote!(const TYPE: &'static str = #name;));
    let version = version
        .as_ref()
        .map(|version| quote!(const VERSION: u32 = #version;));
    Ok(quote! {
        const _: () = {
            #check_topic
            #check_type
        };

        #[automatically_derived]
        impl #parameters #event for #name #arguments #bounds {
            const TOPIC: &'static str = #topic;
            #type_name
            #version
            #method
        }
    })
}

/// Returns the check of a name. The compiler shows its error at the name.
fn check(outbox: &Path, kind: &str, name: &Expr) -> TokenStream {
    let place = name.span();
    let outbox = outbox.to_token_stream().into_iter().map(|mut token| {
        token.set_span(place);
        token
    });
    let outbox: TokenStream = outbox.collect();
    let kind = syn::Ident::new(kind, place);
    quote_spanned!(place=> #outbox::#kind::assert_valid(#name);)
}
