//! Enums in text columns, by the names that strum gives their variants.

/// Lets these enums be read from text columns. They are written by name (`as_str`, or `into`). A text that names no variant is an error
/// of that column.
macro_rules! read_by_name {
    ($($name:ty),+ $(,)?) => {
        $(
            impl ::sqlx::Type<::sqlx::Postgres> for $name {
                fn type_info() -> ::sqlx::postgres::PgTypeInfo {
                    <str as ::sqlx::Type<::sqlx::Postgres>>::type_info()
                }

                fn compatible(column: &::sqlx::postgres::PgTypeInfo) -> bool {
                    <str as ::sqlx::Type<::sqlx::Postgres>>::compatible(column)
                }
            }

            impl<'r> ::sqlx::Decode<'r, ::sqlx::Postgres> for $name {
                fn decode(value: ::sqlx::postgres::PgValueRef<'r>) -> Result<Self, ::sqlx::error::BoxDynError> {
                    let name = <&str as ::sqlx::Decode<'r, ::sqlx::Postgres>>::decode(value)?;
                    name.parse().map_err(|_| format!("unknown {}: {name}", stringify!($name)).into())
                }
            }
        )+
    };
}

pub(crate) use read_by_name;
