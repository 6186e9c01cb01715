//! What can be a message: plain data under a declared name, slices of it, and bytes.

use crate::wire::{Field, Scalar, TypeDesc};
use bytemuck::NoUninit;

/// Plain data that has a name among processes, and perhaps fields that tools can print.
///
/// Implemented for the primitive numbers and `bool`; [`describe!`](crate::describe) implements it for a struct. The name, size, alignment
/// and fields are checked whenever a channel is opened: two programs that disagree do not meet.
///
/// Publishing needs [`NoUninit`] as well, reading [`bytemuck::CheckedBitPattern`]; so enums and `bool` work.
///
/// ```
/// use syncline::{Described, Payload};
///
/// #[derive(Clone, Copy, bytemuck::NoUninit)]
/// #[repr(C)]
/// struct Tick(u64);
///
/// impl Described for Tick {
///     const NAME: &'static str = "market.tick";
/// }
/// assert_eq!(Tick::type_desc().name, "market.tick");
/// ```
pub trait Described: Copy + 'static {
    /// The type's name, the same in every process; at most 128 bytes.
    const NAME: &'static str;

    /// Its fields, for tools that print messages. None by default.
    fn fields() -> Vec<Field> {
        Vec::new()
    }
}

/// What a channel carries: a `T`, any number of them (`[T]`), or bytes (`[u8]`).
pub trait Payload {
    /// The element's type.
    type Item: Described;

    /// How the channel's type is declared to the broker.
    fn type_desc() -> TypeDesc;

    /// The message as its elements.
    fn items(&self) -> &[Self::Item];
}

impl<T: Described> Payload for T {
    type Item = T;

    fn type_desc() -> TypeDesc {
        TypeDesc {
            name: T::NAME.to_owned(),
            size: size_of::<T>() as u32,
            align: align_of::<T>() as u32,
            variable: false,
            fields: T::fields(),
        }
    }

    #[inline(always)]
    fn items(&self) -> &[T] {
        std::slice::from_ref(self)
    }
}

impl<T: Described> Payload for [T] {
    type Item = T;

    fn type_desc() -> TypeDesc {
        if T::NAME == u8::NAME { TypeDesc::bytes() } else { TypeDesc { variable: true, ..T::type_desc() } }
    }

    #[inline(always)]
    fn items(&self) -> &[T] {
        self
    }
}

/// The message as bytes.
#[inline(always)]
pub(crate) fn bytes_of<P: Payload + ?Sized>(message: &P) -> &[u8]
where
    P::Item: NoUninit,
{
    bytemuck::cast_slice(message.items())
}

/// A type that a declared field can have: a scalar or an array of them. Used by [`describe!`](crate::describe).
#[doc(hidden)]
pub trait FieldType {
    const SCALAR: Scalar;
    const COUNT: u32;
}

macro_rules! scalars {
    ($($type:ty = $scalar:ident),*) => { $(
        impl Described for $type { const NAME: &'static str = stringify!($type); }
        impl FieldType for $type { const SCALAR: Scalar = Scalar::$scalar; const COUNT: u32 = 1; }
    )* };
}
scalars!(
    u8 = U8,
    u16 = U16,
    u32 = U32,
    u64 = U64,
    i8 = I8,
    i16 = I16,
    i32 = I32,
    i64 = I64,
    f32 = F32,
    f64 = F64,
    bool = Bool
);

impl<T: FieldType, const N: usize> FieldType for [T; N] {
    const SCALAR: Scalar = T::SCALAR;
    const COUNT: u32 = T::COUNT * N as u32;
}

/// A field of type `T` at `offset`, for [`Described::fields`]. [`describe!`](crate::describe) calls it.
pub fn field<T: FieldType>(name: &str, offset: usize) -> Field {
    Field { name: name.to_owned(), offset: offset as u32, count: T::COUNT, scalar: T::SCALAR }
}

/// Declares a struct's name and fields, so that other processes can check them and tools print them.
///
/// ```
/// #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
/// #[repr(C)]
/// struct Pose { x: f64, y: f64, quality: [u32; 2] }
///
/// syncline::describe!(Pose as "robot.pose" { x: f64, y: f64, quality: [u32; 2] });
///
/// let fields = <Pose as syncline::Described>::fields();
/// assert_eq!((fields[2].name.as_str(), fields[2].offset, fields[2].count), ("quality", 16, 2));
/// ```
///
/// A field's type must be the struct's:
///
/// ```compile_fail
/// #[derive(Clone, Copy)]
/// struct Pose { x: f64 }
/// syncline::describe!(Pose as "robot.pose" { x: f32 });
/// ```
#[macro_export]
macro_rules! describe {
    ($type:ty as $name:literal { $($field:ident: $field_type:ty),* $(,)? }) => {
        impl $crate::Described for $type {
            const NAME: &'static str = $name;

            fn fields() -> ::std::vec::Vec<$crate::Field> {
                $(let _: fn(&$type) -> &$field_type = |whole| &whole.$field;)*
                ::std::vec![$($crate::field::<$field_type>(
                    ::std::stringify!($field),
                    ::std::mem::offset_of!($type, $field),
                )),*]
            }
        }
    };
}
