/* message_check -- what a message is looked through for: before more is merged into it, after it was read. */
#ifndef PS_MESSAGE_CHECK_H
#define PS_MESSAGE_CHECK_H

#include <Python.h>

#include "message_plan.h"
#include "message_write.h"

static bool ps_holds_array(const ps_plan_field *field, PyObject *value)
{
    Py_buffer view;
    if (!PyObject_CheckBuffer(value) || PyObject_GetBuffer(value, &view, PyBUF_ND | PyBUF_FORMAT) < 0) {
        PyErr_Clear();
        return false;
    }
    bool fits = ps_has_items_of(field, &view);
    PyBuffer_Release(&view);
    return fits;
}

/* Whether the slots that more may be merged into hold what reading expects there, as they do but for a user's
 * oddities. False also where it is nested too deep to tell. */
static bool ps_is_ready(ps_message *message, const ps_plan *plan, uint32_t depth)
{
    for (uint32_t i = 0; i < plan->n_fields; i++) {
        const ps_plan_field *field = &plan->fields[i];
        PyObject *value = *ps_slot(message, field);
        bool ready = true;
        if (field->array)
            ready = value && ps_holds_array(field, value);
        else if (field->shape == PS_REPEATED)
            ready = value && PyList_CheckExact(value);
        else if (field->shape == PS_MAP)
            ready = value && PyDict_Check(value);
        else if (ps_is_message(field) && !ps_is_unset(value))
            ready = depth < PS_WRITE_DEEPEST && PyObject_TypeCheck(value, field->child->type) &&
                    ps_is_ready((ps_message *)value, field->child, depth + 1);
        if (!ready)
            return false;
    }
    return true;
}

static bool ps_is_complete(ps_message *message, const ps_plan *plan);

static bool ps_are_complete(const ps_plan_field *field, PyObject *value)
{
    if (field->shape == PS_SINGULAR)
        return ps_is_complete((ps_message *)value, field->child);
    PyObject *key, *inner;
    if (field->shape == PS_MAP) {
        for (Py_ssize_t at = 0; PyDict_Next(value, &at, &key, &inner);)
            if (!ps_is_complete((ps_message *)inner, field->child))
                return false;
        return true;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(value); i++)
        if (!ps_is_complete((ps_message *)PyList_GET_ITEM(value, i), field->child))
            return false;
    return true;
}

/* Whether a message that was just read has all required fields, and so have those in it. */
static bool ps_is_complete(ps_message *message, const ps_plan *plan)
{
    for (uint32_t i = 0; plan->requires && i < plan->n_fields; i++) {
        const ps_plan_field *field = &plan->fields[i];
        PyObject *value = *ps_slot(message, field);
        if (ps_is_unset(value)) {
            if (field->presence == PS_REQUIRED)
                return false;
        } else if (field->child && field->child->requires && !ps_are_complete(field, value)) {
            return false;
        }
    }
    return true;
}

#endif
