// SPDX-License-Identifier: GPL-2.0-or-later
/* Form: a paging form from plain data. pw_form_error() checks what types cannot. */
#include "binding.h"

#include <string.h>

#define NAME_ROOM 16			/* FLAGS_ROOM of walker.c depends on it */

/* Lists as the engine wants them, with their ends, and the names that they point at. */
struct form {
	PyObject_HEAD
	struct pw_form form;
	char name[2 * NAME_ROOM];
	char level_names[PW_MAX_LEVELS][NAME_ROOM];
	char type_names[PW_MAX_MEMORY_TYPES][NAME_ROOM];
	struct pw_right rights[2][PW_MAX_RIGHTS + 1];
	struct pw_rule rules[PW_MAX_LEVELS][PW_MAX_RULES];
	struct bits {
		struct pw_bit bits[PW_MAX_BITS + 1];
		char names[PW_MAX_BITS][NAME_ROOM];
	} bits[PW_MAX_LEVELS][2];
};

const struct pw_form *form_of(PyObject *form)
{
	return &((struct form *)form)->form;
}

/* Copy a name: it ends up in reports, so only visible ASCII without blanks is allowed. */
static bool copy_name(PyObject *name, char *to, Py_ssize_t room)
{
	Py_ssize_t length;
	const char *text;

	if (!PyUnicode_Check(name)) {
		PyErr_SetString(PyExc_TypeError, "a name must be a str");
		return false;
	}
	text = PyUnicode_AsUTF8AndSize(name, &length);
	if (!text)
		return false;
	for (Py_ssize_t i = 0; i < length; i++) {
		if (text[i] < '!' || text[i] > '~')
			length = room;
	}
	if (!length || length >= room) {
		PyErr_Format(PyExc_ValueError,
			     "%R is not a name: 1 to %zd visible ASCII characters, without blanks",
			     name, room - 1);
		return false;
	}
	memcpy(to, text, (size_t)length + 1);
	return true;
}

/* The number of items of a tuple, or -1 with an exception set. */
static Py_ssize_t count_of(PyObject *tuple, const char *what, Py_ssize_t most)
{
	Py_ssize_t count;

	if (!PyTuple_Check(tuple)) {
		PyErr_Format(PyExc_TypeError, "%s must be a tuple", what);
		return -1;
	}
	count = PyTuple_Size(tuple);
	if (count > most) {
		PyErr_Format(PyExc_ValueError, "%s must have at most %zd items", what, most);
		return -1;
	}
	return count;
}

/* An item of a tuple that must itself be a tuple; NULL with an exception set. */
static PyObject *tuple_at(PyObject *tuple, Py_ssize_t i, const char *what)
{
	PyObject *item = PyTuple_GetItem(tuple, i);

	if (item && !PyTuple_Check(item)) {
		PyErr_Format(PyExc_TypeError, "%s must be tuples", what);
		return NULL;
	}
	return item;
}

/* (name of the right, mask, value), ... */
static bool parse_rights(struct form *form, PyObject *list, struct pw_right *to)
{
	static const struct {
		const char *name;
		uint8_t right;
	} known[] = {
		{ "write", PW_WRITE }, { "execute", PW_EXECUTE }, { "user", PW_USER },
		{ "user-execute", PW_USER_EXECUTE },
	};
	Py_ssize_t count = count_of(list, "a list of rights", PW_MAX_RIGHTS);

	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *item = tuple_at(list, i, "rights");
		const char *name;

		if (!item || !PyArg_ParseTuple(item, "sO&O&;a right must be name, mask, value", &name,
					       to_u64, &to[i].mask, to_u64, &to[i].value))
			return false;
		for (size_t k = 0; k < sizeof(known) / sizeof(*known); k++) {
			if (!strcmp(name, known[k].name))
				to[i].right = known[k].right;
		}
		if (!to[i].right) {
			PyErr_Format(PyExc_ValueError, "unknown right '%.20s'; choose from write, "
				     "execute, user, user-execute", name);
			return false;
		}
		form->form.rights |= to[i].right;
	}
	return count >= 0;
}

static bool parse_kind(const char *name, uint8_t *ret)
{
	for (unsigned int kind = 0; kind <= PW_RESERVED_BITS; kind++) {
		if (!strcmp(name, pw_kind_name(kind))) {
			*ret = (uint8_t)kind;
			return true;
		}
	}
	PyErr_Format(PyExc_ValueError, "'%.20s' is not a kind of entry", name);
	return false;
}

/* (kind, mask, value, reserved, inverted), ...; mask 0 ends the list. */
static bool parse_rules(PyObject *list, struct pw_rule *to)
{
	Py_ssize_t count = count_of(list, "a level's rules", PW_MAX_RULES);

	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *item = tuple_at(list, i, "rules");
		const char *kind;
		int inverted;

		if (!item || !PyArg_ParseTuple(item, "sO&O&O&p;a rule must be kind, mask, value, "
					       "reserved, inverted", &kind, to_u64, &to[i].mask, to_u64,
					       &to[i].value, to_u64, &to[i].reserved, &inverted))
			return false;
		to[i].inverted = inverted;
		if (!parse_kind(kind, &to[i].kind))
			return false;
		if (!to[i].mask != (i == count - 1))
			count = 0;
	}
	if (!count)
		PyErr_SetString(PyExc_ValueError, "the last rule of a level, and only the last, "
				"must have mask 0");
	return count > 0;
}

/* (name, mask, value, shift), ... */
static bool parse_bits(PyObject *list, struct bits *to)
{
	Py_ssize_t count = count_of(list, "a list of bits", PW_MAX_BITS);

	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *item = tuple_at(list, i, "bits"), *name;
		struct pw_bit *bit = &to->bits[i];

		if (!item || !PyArg_ParseTuple(item, "OO&O&O&;a bit must be name, mask, value, shift",
					       &name, to_u64, &bit->mask, to_u64, &bit->value, to_u8,
					       &bit->shift) ||
		    !copy_name(name, to->names[i], NAME_ROOM))
			return false;
		bit->name = to->names[i];
	}
	return count >= 0;
}

/* (name, index_bits, rules, table_bits, other_bits, type_bits) */
static bool parse_level(struct form *form, PyObject *item, Py_ssize_t depth)
{
	struct pw_level *level = &form->form.level[depth];
	PyObject *name, *rules, *table_bits, *other_bits, *type_bits;

	if (!PyArg_ParseTuple(item, "OO&OOOO;a level must be name, index_bits, rules, table_bits, "
			      "other_bits, type_bits", &name, to_u8, &level->index_bits, &rules,
			      &table_bits, &other_bits, &type_bits))
		return false;
	if (count_of(type_bits, "type_bits", 3) < 0 ||
	    !PyArg_ParseTuple(type_bits, "O&O&O&;type_bits must be three masks", to_u64,
			      &level->type_bits[0], to_u64, &level->type_bits[1], to_u64,
			      &level->type_bits[2]))
		return false;
	level->name = form->level_names[depth];
	level->rules = form->rules[depth];
	level->table_bits = form->bits[depth][0].bits;
	level->other_bits = form->bits[depth][1].bits;
	return copy_name(name, form->level_names[depth], NAME_ROOM) &&
	       parse_rules(rules, form->rules[depth]) &&
	       parse_bits(table_bits, &form->bits[depth][0]) &&
	       parse_bits(other_bits, &form->bits[depth][1]);
}

/* The levels from the top. Numbers and shifts follow from page_shift and index_bits. */
static bool parse_levels(struct form *form, PyObject *list, int roots)
{
	Py_ssize_t count = count_of(list, "levels", PW_MAX_LEVELS);
	unsigned int shift = form->form.page_shift;

	if (count < 0)
		return false;
	form->form.levels = (uint8_t)count;
	for (Py_ssize_t depth = 0; depth < count; depth++) {
		PyObject *item = tuple_at(list, depth, "levels");

		if (!item || !parse_level(form, item, depth))
			return false;
	}
	for (Py_ssize_t depth = count - 1; depth >= 0; depth--) {
		struct pw_level *level = &form->form.level[depth];

		level->number = (uint8_t)(count - depth);
		level->shift = (uint8_t)(shift < UINT8_MAX ? shift : UINT8_MAX);
		shift += level->index_bits;
	}
	shift -= roots == 1;
	form->form.half_bits = (uint8_t)(shift < UINT8_MAX ? shift : UINT8_MAX);
	return true;
}

static bool parse_types(struct form *form, PyObject *list)
{
	Py_ssize_t count = count_of(list, "memory_types", PW_MAX_MEMORY_TYPES);

	for (Py_ssize_t i = 0; i < count; i++) {
		if (!copy_name(PyTuple_GetItem(list, i), form->type_names[i], NAME_ROOM))
			return false;
		form->form.memory_type[i] = form->type_names[i];
	}
	form->form.memory_types = (uint8_t)(count > 0 ? count : 0);
	return count >= 0;
}

/* (type_shift, type_bits, offset_shift, offset_bits, offset_inverted) */
static bool parse_swap(struct form *form, PyObject *swap)
{
	struct pw_form *to = &form->form;
	int inverted;

	if (!swap)
		return true;
	if (count_of(swap, "swap", 5) < 0 ||
	    !PyArg_ParseTuple(swap, "O&O&O&O&p;swap must be type_shift, type_bits, offset_shift, "
			      "offset_bits, offset_inverted", to_u8, &to->swap.type_shift, to_u8,
			      &to->swap.type_bits, to_u8, &to->swap.offset_shift, to_u8,
			      &to->swap.offset_bits, &inverted))
		return false;
	to->swap.offset_inverted = inverted;
	return true;
}

static PyObject *form_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "name", "page_shift", "levels", "address_mask", "root_mask",
				 "leaf_rights", "memory_types", "roots", "address_shift",
				 "high_mask", "high_shift", "table_rights", "ignorable", "swap", NULL };
	PyObject *name, *levels, *leaf_rights, *types, *table_rights = NULL, *swap = NULL;
	struct form *form = (struct form *)PyType_GenericAlloc(type, 0);
	struct pw_form *to;
	const struct pw_level *level;
	const char *error;
	uint8_t roots = 1;

	if (!form)
		return NULL;
	to = &form->form;
	to->name = form->name;
	to->rights = PW_WRITE | PW_EXECUTE | PW_USER;
	to->table_rights = form->rights[0];
	to->leaf_rights = form->rights[1];
	if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO&OO&O&OO|$O&O&O&O&OO&O:Form", names, &name,
					 to_u8, &to->page_shift, &levels, to_u64, &to->address_mask,
					 to_u64, &to->root_mask, &leaf_rights, &types, to_u8, &roots,
					 to_u8, &to->address_shift, to_u64, &to->high_mask, to_u8,
					 &to->high_shift, &table_rights, to_u64, &to->ignorable,
					 &swap))
		goto fail;
	if (roots != 1 && roots != 2) {
		PyErr_SetString(PyExc_ValueError, "roots must be 1 or 2");
		goto fail;
	}
	if (!copy_name(name, form->name, sizeof(form->name)) || !parse_levels(form, levels, roots) ||
	    (table_rights && !parse_rights(form, table_rights, form->rights[0])) ||
	    !parse_rights(form, leaf_rights, form->rights[1]) || !parse_types(form, types) ||
	    !parse_swap(form, swap))
		goto fail;
	error = pw_form_error(to, &level);
	if (error) {
		PyErr_Format(PyExc_ValueError, "form %s%s%s: %s", form->name, level ? ", level " : "",
			     level ? level->name : "", error);
		goto fail;
	}
	return (PyObject *)form;
fail:
	Py_DECREF(form);
	return NULL;
}

static void form_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyType_Slot form_slots[] = {
	{ Py_tp_new, form_new },
	{ Py_tp_dealloc, form_dealloc },
	{ 0 },
};

PyType_Spec form_spec = {
	.name = "pageproof_pagewalk.Form",
	.basicsize = sizeof(struct form),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = form_slots,
};
