/* message_number -- from Python's numbers, or what stands for them, to the bits that travel. What may run Python
 * code is far from what usually comes: an int, float or bool. */
#ifndef PS_MESSAGE_NUMBER_H
#define PS_MESSAGE_NUMBER_H

#include <Python.h>
#include <string.h>

#include "message_plan.h"
#include "varint.h"
#include "wire_writer.h"

static int ps_refuse(const ps_plan_field *field, PyObject *value)
{
    return ps_hooks.refuse_value(field, value);
}

/* Whether it is an int of one digit, and that. */
static inline bool ps_short_int(PyObject *value, int64_t *number)
{
#if PY_VERSION_HEX >= 0x030c0000
    if (!PyUnstable_Long_IsCompact((PyLongObject *)value))
        return false;
    *number = PyUnstable_Long_CompactValue((PyLongObject *)value);
#else
    Py_ssize_t size = Py_SIZE(value);
    if (size < -1 || size > 1)
        return false;
    *number = size * (int64_t)((PyLongObject *)value)->ob_digit[0]; /* the digit of 0 does not count */
#endif
    return true;
}

static inline bool ps_fits(int kind, int64_t number)
{
    switch (kind) {
    case PS_KIND_INT32:
    case PS_KIND_SINT32:
    case PS_KIND_SFIXED32:
    case PS_KIND_ENUM:
        return number == (int32_t)number;
    case PS_KIND_UINT32:
    case PS_KIND_FIXED32:
        return number == (uint32_t)number;
    case PS_KIND_UINT64:
    case PS_KIND_FIXED64:
        return number >= 0;
    default:
        return true;
    }
}

/* An int of several digits, or what only has __index__. */
static int ps_long_integer(const ps_plan_field *field, PyObject *value, uint64_t *bits)
{
    if (!PyLong_Check(value) && !PyIndex_Check(value))
        return ps_refuse(field, value);
    PyObject *whole = PyNumber_Index(value); /* calls Python code, but not of ints */
    if (whole == NULL)
        return -1;
    int overflow, status = 0;
    int64_t number = PyLong_AsLongLongAndOverflow(whole, &overflow);
    *bits = (uint64_t)number;
    if (overflow > 0 && (field->kind == PS_KIND_UINT64 || field->kind == PS_KIND_FIXED64)) {
        *bits = PyLong_AsUnsignedLongLong(whole);
        if (*bits == UINT64_MAX && PyErr_Occurred()) {
            PyErr_Clear();
            status = ps_refuse(field, whole);
        }
    } else if (overflow || !ps_fits(field->kind, number)) {
        status = ps_refuse(field, whole);
    }
    Py_DECREF(whole);
    return status;
}

static inline int ps_integer(const ps_plan_field *field, PyObject *value, uint64_t *bits)
{
    int64_t number;
    if (PyLong_CheckExact(value) && ps_short_int(value, &number) && ps_fits(field->kind, number)) {
        *bits = (uint64_t)number;
        return 0;
    }
    return ps_long_integer(field, value, bits);
}

/* What is no float: an int, or what has __float__. */
static int ps_other_real(const ps_plan_field *field, PyObject *value, double *number)
{
    PyNumberMethods *methods = Py_TYPE(value)->tp_as_number;
    if (!PyFloat_Check(value) && (methods == NULL || methods->nb_float == NULL))
        return ps_refuse(field, value);
    *number = PyLong_Check(value) ? PyLong_AsDouble(value) : PyFloat_AsDouble(value);
    if (*number != -1.0 || !PyErr_Occurred())
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_OverflowError))
        return -1;
    PyErr_Clear();
    return ps_refuse(field, value);
}

static int ps_other_bool(const ps_plan_field *field, PyObject *value, uint64_t *bits)
{
    const char *name = Py_TYPE(value)->tp_name;
    if (!PyLong_Check(value) && strcmp(name, "numpy.bool") != 0 && strcmp(name, "numpy.bool_") != 0)
        return ps_refuse(field, value);
    int truth = PyObject_IsTrue(value);
    *bits = truth > 0;
    return truth < 0 ? -1 : 0;
}

/* The bits of a number: of a float's kinds those that travel, of the others the value's, sign extended. */
static inline int ps_number(const ps_plan_field *field, PyObject *value, uint64_t *bits)
{
    double number;
    switch (field->kind) {
    case PS_KIND_DOUBLE:
    case PS_KIND_FLOAT:
        if (PyFloat_CheckExact(value))
            number = PyFloat_AS_DOUBLE(value);
        else if (ps_other_real(field, value, &number) < 0)
            return -1;
        if (field->kind == PS_KIND_DOUBLE) {
            memcpy(bits, &number, sizeof number);
        } else {
            float half = (float)number; /* beyond its range that is infinity */
            uint32_t half_bits;
            memcpy(&half_bits, &half, sizeof half);
            *bits = half_bits;
        }
        return 0;
    case PS_KIND_BOOL:
        if (value != Py_True && value != Py_False)
            return ps_other_bool(field, value, bits);
        *bits = value == Py_True;
        return 0;
    default:
        return ps_integer(field, value, bits);
    }
}

static inline uint8_t *ps_put_number(uint8_t *at, int kind, uint64_t bits)
{
    switch (kind) {
    case PS_KIND_DOUBLE:
    case PS_KIND_FIXED64:
    case PS_KIND_SFIXED64:
        return ps_wire_put_fixed64(at, bits);
    case PS_KIND_FLOAT:
    case PS_KIND_FIXED32:
    case PS_KIND_SFIXED32:
        return ps_wire_put_fixed32(at, (uint32_t)bits);
    case PS_KIND_SINT32:
    case PS_KIND_SINT64:
        return ps_varint_write(at, ps_zigzag64((int64_t)bits));
    default:
        return ps_varint_write(at, bits);
    }
}

#endif
