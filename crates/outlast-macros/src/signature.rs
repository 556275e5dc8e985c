//! The signature of a function: which parameters come from the caller and which from us.
//!
//! `Cx`, `BlockingCx`, `RequestCx` and `State<…>` are known by their names, the last part of the path; all other
//! parameters are arguments.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, FnArg, Ident, ItemFn, Meta, Pat, PatType, Path, PathArguments, Result,
    ReturnType, Type,
};

/// What the function becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Tool,
    Prompt,
    Resource,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
        }
    }
}

/// One parameter.
pub(crate) enum Parameter {
    /// Filled from the call's arguments.
    Argument(Box<Argument>),
    /// The context of an async or of a blocking function.
    Context,
    /// The application's state; the type as written, `State<T>`.
    State(Box<Type>),
}

/// A parameter that is an argument of the tool or prompt, or a variable of the URI.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    /// Doc comments, and attributes for serde and schemars.
    pub(crate) attributes: Vec<Attribute>,
    /// `#[default = …]`.
    pub(crate) default: Option<Expr>,
    /// `#[complete(…)]`.
    pub(crate) complete: Option<Path>,
}

/// What the return type looks like.
pub(crate) struct Returns {
    /// It is written as a `Result`.
    pub(crate) fallible: bool,
    pub(crate) span: Span,
}

/// A function that can be what it is to become.
pub(crate) struct Signature {
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) returns: Returns,
    pub(crate) blocking: bool,
}

/// Reads the signature, and takes our attributes off the parameters.
pub(crate) fn read(function: &mut ItemFn, kind: Kind) -> Result<Signature> {
    refuse_what_nothing_is(function, kind)?;
    let blocking = function.sig.asyncness.is_none();
    let mut errors: Option<Error> = None;
    let mut parameters = Vec::new();
    for input in &mut function.sig.inputs {
        match parameter(input, blocking, kind) {
            Ok(parameter) => parameters.push(parameter),
            Err(error) => match &mut errors {
                Some(errors) => errors.combine(error),
                None => errors = Some(error),
            },
        }
    }
    match errors {
        Some(errors) => Err(errors),
        None => Ok(Signature {
            parameters,
            returns: returns(&function.sig.output),
            blocking,
        }),
    }
}

fn refuse_what_nothing_is(function: &ItemFn, kind: Kind) -> Result<()> {
    let signature = &function.sig;
    let word = kind.word();
    if let Some(parameter) = signature.generics.params.first() {
        return Err(Error::new(
            parameter.span(),
            format!(
                "a {word}'s function cannot be generic: its arguments are described by one JSON \
                 Schema; write the types out"
            ),
        ));
    }
    if let Some(where_clause) = &signature.generics.where_clause {
        return Err(Error::new(
            where_clause.span(),
            format!("a {word}'s function cannot have a `where` clause; write the types out"),
        ));
    }
    if let Some(unsafety) = &signature.unsafety {
        return Err(Error::new(
            unsafety.span(),
            format!(
                "a {word}'s function cannot be `unsafe`: it is called with whatever a client sends"
            ),
        ));
    }
    if let Some(variadic) = &signature.variadic {
        return Err(Error::new(
            variadic.span(),
            format!("a {word}'s function takes a fixed list of arguments"),
        ));
    }
    Ok(())
}

fn parameter(input: &mut FnArg, blocking: bool, kind: Kind) -> Result<Parameter> {
    let typed = match input {
        FnArg::Typed(typed) => typed,
        FnArg::Receiver(receiver) => {
            return Err(Error::new(
                receiver.span(),
                format!(
                    "a {} is a free function, not a method: take `State<T>` instead of `self` and \
                     give the server the value with `Server::state`",
                    kind.word()
                ),
            ));
        }
    };
    match context_word(&typed.ty).as_deref() {
        Some("RequestCx") if kind != Kind::Tool => Ok(Parameter::Context),
        Some("Cx" | "BlockingCx") if kind != Kind::Tool => Err(Error::new(
            typed.ty.span(),
            format!(
                "a {} is no task, so it has no progress, steps or log: take `RequestCx`",
                kind.word()
            ),
        )),
        Some("Cx") if blocking => Err(Error::new(
            typed.ty.span(),
            "a blocking function takes `BlockingCx`; write that, or make the function `async`",
        )),
        Some("BlockingCx") if !blocking => Err(Error::new(
            typed.ty.span(),
            "an async function takes `Cx`; write that, or take `async` away",
        )),
        Some("Cx" | "BlockingCx") => Ok(Parameter::Context),
        Some("State") => {
            refuse_untyped_state(&typed.ty)?;
            Ok(Parameter::State(typed.ty.clone()))
        }
        Some("RequestCx") => Err(Error::new(
            typed.ty.span(),
            "a tool takes `Cx`, or `BlockingCx` where it is not `async`",
        )),
        _ => argument(typed, kind).map(|argument| Parameter::Argument(Box::new(argument))),
    }
}

/// The last word of a type's path, if it is one of ours.
fn context_word(ty: &Type) -> Option<String> {
    let ty = match ty {
        Type::Reference(reference) => &reference.elem,
        other => other,
    };
    let Type::Path(path) = ty else { return None };
    let word = path.path.segments.last()?.ident.to_string();
    let ours = ["Cx", "BlockingCx", "RequestCx", "State"];
    ours.contains(&word.as_str()).then_some(word)
}

fn refuse_untyped_state(ty: &Type) -> Result<()> {
    let Type::Path(path) = ty else {
        return Err(Error::new(
            ty.span(),
            "take `State<T>` by value; it is cheap to clone",
        ));
    };
    let arguments = path.path.segments.last().map(|segment| &segment.arguments);
    if !matches!(arguments, Some(PathArguments::AngleBracketed(_))) {
        return Err(Error::new(
            ty.span(),
            "say which state: `State<T>` with the type that was given to `Server::state`",
        ));
    }
    Ok(())
}

fn argument(typed: &mut PatType, kind: Kind) -> Result<Argument> {
    let Pat::Ident(pattern) = &*typed.pat else {
        return Err(Error::new(
            typed.pat.span(),
            "an argument needs a name, which is its name in the JSON: write `name: Type` and take \
             it apart in the body",
        ));
    };
    if let Some(by_ref) = &pattern.by_ref {
        return Err(Error::new(by_ref.span(), "take the argument by value"));
    }
    refuse_borrowed(&typed.ty)?;
    let name = pattern.ident.clone();
    let Taken {
        described: attributes,
        default,
        complete,
    } = take_attributes(&mut typed.attrs, kind)?;
    Ok(Argument {
        name,
        ty: (*typed.ty).clone(),
        attributes,
        default,
        complete,
    })
}

fn refuse_borrowed(ty: &Type) -> Result<()> {
    match ty {
        Type::Reference(reference) => {
            let is_text = matches!(&*reference.elem, Type::Path(path) if path.path.is_ident("str"));
            let owned = if is_text {
                "`String`"
            } else if matches!(&*reference.elem, Type::Slice(_)) {
                "`Vec<…>`"
            } else {
                "the type without `&`"
            };
            Err(Error::new(
                ty.span(),
                format!("arguments are read from JSON and owned by the function: take {owned}"),
            ))
        }
        Type::ImplTrait(_) => Err(Error::new(
            ty.span(),
            "an argument needs one type that JSON can be read into; write it out instead of `impl`",
        )),
        _ => Ok(()),
    }
}

/// What was taken off a parameter.
#[derive(Default)]
struct Taken {
    described: Vec<Attribute>,
    default: Option<Expr>,
    complete: Option<Path>,
}

/// Separates what describes an argument from what the compiler is to see.
fn take_attributes(attributes: &mut Vec<Attribute>, kind: Kind) -> Result<Taken> {
    let mut kept = Vec::new();
    let mut taken = Taken::default();
    for attribute in attributes.drain(..) {
        let path = attribute.path();
        if path.is_ident("default") {
            taken.default = Some(default_value(&attribute.meta)?);
        } else if path.is_ident("complete") {
            if kind == Kind::Tool {
                return Err(Error::new(
                    attribute.span(),
                    "the protocol completes arguments of prompts and variables of resources; an \
                     enum says which values a tool's argument may have",
                ));
            }
            taken.complete = Some(attribute.parse_args().map_err(|error| {
                Error::new(
                    error.span(),
                    "write `#[complete(function)]` with the name of an async function that takes a \
                     `CompletionRequest` and a `RequestCx` and returns a `Vec<String>`",
                )
            })?);
        } else if ["doc", "serde", "schemars"]
            .iter()
            .any(|word| path.is_ident(word))
        {
            taken.described.push(attribute);
        } else {
            kept.push(attribute);
        }
    }
    *attributes = kept;
    Ok(taken)
}

fn default_value(meta: &Meta) -> Result<Expr> {
    match meta {
        Meta::NameValue(pair) => Ok(pair.value.clone()),
        other => Err(Error::new(other.span(), "write `#[default = value]`")),
    }
}

fn returns(output: &ReturnType) -> Returns {
    match output {
        ReturnType::Default => Returns {
            fallible: false,
            span: Span::call_site(),
        },
        ReturnType::Type(_, ty) => Returns {
            fallible: matches!(&**ty, Type::Path(path) if is_result(&path.path)),
            span: ty.span(),
        },
    }
}

/// `Result`, `io::Result<…>`, and aliases with arguments of their own, `AppResult<…>`.
fn is_result(path: &Path) -> bool {
    path.segments.last().is_some_and(|last| {
        let alias = matches!(last.arguments, PathArguments::AngleBracketed(_));
        last.ident == "Result" || (alias && last.ident.to_string().ends_with("Result"))
    })
}
