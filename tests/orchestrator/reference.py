"""A reference executor: what a task's steps come to, worked out one after the other, without a plugin.

Knows the actions echo (the parameters again) and fail (always fails), templates, conditions, for_each, fallback and
on_error; of a task that fails it tells what each step would have come to had nothing stopped it."""

ABSENT = object()


def follow(value, tokens):
    for token in tokens:
        token = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and token.isdigit() and int(token) < len(value):
            value = value[int(token)]
        else:
            return ABSENT
    return value


class Missing(Exception):
    pass


class Run:
    def __init__(self, task):
        self.task = task
        self.steps = {s["id"]: s for s in task["steps"]}
        self.outcome, self.result, self.error = {}, {}, {}
        self.calls = 0

    # ---- values ----

    def value(self, pointer, item=ABSENT, index=None):
        _, first, *rest = pointer.split("/")
        if first == "input":
            return follow(self.task.get("input", ABSENT), rest)
        if first == "item":
            return follow(item, rest)
        if first == "index":
            return index
        id, part, *rest = rest
        if part == "result":
            return follow(self.result.get(id, ABSENT), rest)
        if part == "outcome":
            return self.outcome[id]
        return follow(self.error.get(id, ABSENT), rest)

    def fill(self, template, item=ABSENT, index=None):
        if isinstance(template, list):
            return [self.fill(t, item, index) for t in template]
        if not isinstance(template, dict):
            return template
        if "$literal" in template:
            return template["$literal"]
        if "$from" in template:
            value = self.value(template["$from"], item, index)
            if value is ABSENT:
                value = template.get("default", ABSENT)
            if value is ABSENT:
                raise Missing
            return value
        return {name: self.fill(t, item, index) for name, t in template.items()}

    # ---- order ----

    def refs(self, template):
        if isinstance(template, list):
            for t in template:
                yield from self.refs(t)
        elif isinstance(template, dict):
            if "$from" in template and template["$from"].startswith("/steps/"):
                yield template["$from"].split("/")[2]
            elif "$literal" not in template:
                for t in template.values():
                    yield from self.refs(t)

    def needs(self, step):
        found = set(step.get("depends_on", ()))
        for template in (step.get("parameters"), step.get("for_each", {}).get("items"),
                         step.get("fallback", {}).get("parameters")):
            found |= set(self.refs(template))
        for condition in step.get("when", ()):
            found |= {condition["step"]} if "step" in condition else set(self.refs({"$from": condition["value"]}))
        return found - {step["id"]}

    # ---- one step ----

    def wanted(self, step):
        if "when" not in step:
            return all(self.outcome[n] == "succeeded" for n in self.needs(step))
        for c in step["when"]:
            if "step" in c:
                holds = self.outcome[c["step"]] == c["outcome"]
            else:
                holds = (self.value(c["value"]) == c["equals"]) != c.get("not", False)
            if not holds:
                return False
        return True

    def call(self, action, item=ABSENT, index=None):
        """(result, None) or (None, code)."""
        try:
            filled = self.fill(action.get("parameters", {}), item, index)
        except Missing:
            return None, "bad_parameters"
        self.calls += 1
        return (filled, None) if action["action"] == "echo" else (None, "action_failed")

    def attempt(self, step, item=ABSENT, index=None):
        result, code = self.call(step, item, index)
        if code and "fallback" in step:
            self.error[step["id"]] = {"code": code}
            result, code = self.call(step["fallback"], item, index)
            if not code:
                del self.error[step["id"]]
        return result, code

    def run_step(self, step):
        id = step["id"]
        if not self.wanted(step):
            self.outcome[id] = "skipped"
            return
        if "for_each" not in step:
            result, code = self.attempt(step)
        else:
            try:
                items = self.fill(step["for_each"]["items"])
            except Missing:
                items = None
            if not isinstance(items, list):
                result, code = None, "bad_parameters"
            else:
                done = [self.attempt(step, item, i) for i, item in enumerate(items)]
                code = next((c for _, c in done if c), None)
                result = [r for r, _ in done]
                if code and step.get("on_error") == "continue":
                    self.result[id] = result
        self.outcome[id] = "failed" if code else "succeeded"
        if code:
            self.error[id] = {"code": code}
        else:
            self.result[id] = result

    def run(self):
        left = dict(self.steps)
        while left:
            ready = [s for s in left.values() if self.needs(s) <= set(self.outcome)]
            for s in ready:
                self.run_step(s)
                del left[s["id"]]
        return self

    def fatal(self):
        """Steps whose failure fails the task."""
        return {id for id, o in self.outcome.items()
                if o == "failed" and self.steps[id].get("on_error") != "continue"}
