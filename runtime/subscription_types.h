/* The types that arguments of typed functions may have. */
#ifndef RING3_RUNTIME_SUBSCRIPTION_TYPES_H
#define RING3_RUNTIME_SUBSCRIPTION_TYPES_H

enum typed_kind {
    TYPED_U8,
    TYPED_U16,
    TYPED_U32,
    TYPED_U64,
    TYPED_I8,
    TYPED_I16,
    TYPED_I32,
    TYPED_I64,
    TYPED_STR,
    TYPED_COUNT
};

#endif
