"""Code of strategies that break what they can, and what must be said of each."""

import textwrap

FILE = """
import math, sys
from dataclasses import dataclass, field
import numpy as np
import torch
from torch.nn import Parameter
from gs_densify.errors import StrategyError
from gs_densify.strategies import ops
from gs_densify.strategies.base import Strategy

class Boom(BaseException):
    pass

class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")

class Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.sum() * 0
    @staticmethod
    def backward(ctx, g):
        sys.exit(0)

@dataclass
class CustomStrategy(Strategy):
    {members}
"""
MEMBERS = """\
def step_post_backward(self, params, optimizers, state, step, info, packed=False):
    {after}
def step_pre_backward(self, params, optimizers, state, step, info):
    {before}
{more}"""

# What a hook does at step 1, and what must be said; None: the run goes on.
AFTER = {
    "exits": ("sys.exit(0)", "step 1, step_post_backward: SystemExit: 0"),
    "exits silently": ("raise SystemExit", "step_post_backward: SystemExit$"),
    "any exception": ("raise Boom('x')", "step_post_backward: Boom: x"),
    "generator exit": ("raise GeneratorExit", "GeneratorExit"),
    "an exception without words": ("raise Unspeakable", "Unspeakable"),
    "an exception group": ("raise ExceptionGroup('g', [ValueError()])", "ExceptionGroup"),
    "stop iteration": ("raise StopIteration", "StopIteration"),
    "recursion": ("f = lambda: f(); f()", "RecursionError"),
    "float64": ("params['quats'].data = params['quats'].data.double()", r"'quats' is float64 \[N,"),
    "half": ("params['sh0'] = Parameter(params['sh0'].detach().half())", "'sh0' is float16"),
    "whole numbers": (
        "params['means'].requires_grad_(False); params['means'].data = params['means'].data.long()",
        "'means' is int64",
    ),
    "another device": (
        "params['means'] = Parameter(params['means'].detach().to('meta'))",
        "on meta",
    ),
    "sparse": ("params['scales'] = Parameter(params['scales'].detach().to_sparse())", "no rows in"),
    "another shape": (
        "params['opacities'] = Parameter(params['opacities'].detach()[:, None])",
        r"'opacities' is float32 \[N, 1\] on cpu, not float32 \[N\]",
    ),
    "no shape": ("params['opacities'] = Parameter(torch.zeros(()))", "no rows"),
    "fewer rows": ("params['quats'] = Parameter(params['quats'].detach()[:7])", "has 7 rows"),
    "rows by data": ("params['quats'].data = params['quats'].data[:7]", "has 7 rows"),
    "more SH": ("params['shN'] = Parameter(torch.zeros(len(params['means']), 24, 3))", r"N, 24, 3"),
    "expanded": (
        "params['sh0'].data = params['sh0'].data[:1].expand(len(params['means']), 1, 3)",
        "'sh0' is an expanded tensor",
    ),
    "no parameters": ("params.clear()", "parameters are none"),
    "a parameter less": ("del params['scales']", "parameters are means, opacities, quats"),
    "a parameter more": ("params['age'] = torch.zeros(len(params['means']))", "are age, means"),
    "no tensor": ("params['means'] = None", "'means' is a NoneType"),
    "a list": ("params['means'] = [1.0]", "cannot assign 'list'"),
    "aliases": ("params['scales'] = params['means']", "lie in the same memory"),
    "aliased data": ("params['scales'].data = params['means'].data", "lie in the same memory"),
    "no optimisers": ("optimizers.clear()", "optimisers are those of none"),
    "an optimiser less": ("del optimizers['quats']", "optimisers are those of means, opacities"),
    "an optimiser more": ("optimizers['age'] = optimizers['means']", "optimisers are those of age"),
    "no optimiser": ("optimizers['quats'] = None", "optimiser of 'quats' is a NoneType"),
    "no groups": ("optimizers['quats'].param_groups.clear()", "has not one group"),
    "an empty group": ("optimizers['quats'].param_groups[0]['params'] = []", "has not one group"),
    "two groups": (
        "optimizers['quats'].add_param_group({'params': [Parameter(torch.ones(2))]})",
        "has not one group",
    ),
    "rate nan": ("optimizers['quats'].param_groups[0]['lr'] = float('nan')", "is nan, no finite"),
    "rate text": ("optimizers['quats'].param_groups[0]['lr'] = 'high'", "is 'high', no finite"),
    "no rate": ("del optimizers['quats'].param_groups[0]['lr']", "is None, no finite"),
    "betas": ("optimizers['quats'].param_groups[0]['betas'] = None", "after its hooks: TypeError"),
    "another tensor": ("params['quats'] = Parameter(params['quats'].detach())", "trains another"),
    "half the moments": (
        "optimizers['quats'].state[params['quats']].pop('exp_avg')",
        "lost moments",
    ),
    "moments in float64": (
        "s = optimizers['quats'].state[params['quats']]; s['exp_avg'] = s['exp_avg'].double()",
        "a moment of the optimiser of 'quats' is fl",
    ),
    "one moment": (
        "s = optimizers['quats'].state[params['quats']]; s['exp_avg'] = s['exp_avg_sq']",
        "both moments of the optimiser of 'quats' are one",
    ),
    "a moment none": ("optimizers['quats'].state[params['quats']]['step'] = None", "lost moments"),
    "moments forgotten": ("optimizers['quats'].state.clear()", None),
    "no gradients": ("torch.set_grad_enabled(False)", "left torch with gradients False"),
    "default type": ("torch.set_default_dtype(torch.float64)", "default dtype torch.float64"),
    "autocast": ("torch.autocast('cpu').__enter__()", "autocast on cpu True"),
    "all frozen": (
        "[p.requires_grad_(False) for p in params.values()]",
        "after its hooks: Runtime",
    ),
    "one frozen": ("params['sh0'].requires_grad_(False)", None),
    "key": ("state[3] = 1", "`state` has the key 3, which is no text"),
    "state cleared": ("state.clear()", None),
    "statistics": (
        "ops.remove(params, optimizers, {}, params['means'][:, 0] > 0)",
        "statistic 'n'",
    ),
    "nan": ("params['means'].data[3] = float('nan')", "'means' is not finite in 1 of"),
    "infinite": ("params['scales'].data.fill_(float('inf'))", "'scales' is not finite in 40"),
    "none left": (
        "ops.remove(params, optimizers, state, params['means'][:, 0] < 9e9)",
        "no Gaussian",
    ),
    "a mask of floats": (
        "ops.remove(params, optimizers, state, params['means'][:, 0])",
        "a mask of",
    ),
    "info emptied": ("info.clear()", None),
    "info changed": ("info['views'] = info['means2d'] = None; info['radii'].zero_()", None),
    "its own error": ("raise StrategyError('no', action='go')", "step_post_backward: no; go"),
}
BEFORE = {
    "exits": ("sys.exit()", "step_pre_backward: SystemExit"),
    "info emptied": ("info.clear()", None),
    "means2d of texts": ("info['means2d'] = info['radii'] = 'gone'", None),
    "splits": ("ops.split(params, optimizers, state, params['means'][:, 0] > 0)", "replaced param"),
    "parameters deleted": ("params.clear()", "step_pre_backward: replaced parameters"),
    "means2d in place": ("info['means2d'].data = info['means2d'].data[:, :3]", "after its hooks"),
    "photos in place": ("info['render'].detach().zero_()", "after its hooks|"),
    "no gradients": ("torch.set_grad_enabled(False)", "left torch with gradients False"),
    "a hook of the backward pass": (
        "info['means2d'].register_hook(lambda g: sys.exit(0))",
        "after its hooks: SystemExit",
    ),
    "smaller": ("params['means'].data = params['means'].data[:9]", ".40, 3., the parameter .9, 3."),
    "no optimisers": ("optimizers.clear()", "optimisers are those of none"),
}
# Members of the class, and what must be said.
MORE = {
    "maps of text": (
        "def num_attributed_maps(self, step): return 'two'",
        "num_attributed_maps: gave 'two'; a whole number is needed",
    ),
    "maps of floats": ("def num_attributed_maps(self, step): return 1.5", "gave 1.5"),
    "maps below none": ("def num_attributed_maps(self, step): return -3", None),
    "no maps": ("def num_attributed_maps(self, step): return 1", "attributed_maps: is missing"),
    "maps of whole numbers": (
        "def num_attributed_maps(self, step): return 1\n"
        "def attributed_maps(self, step, info): return torch.ones(1, 32, 48, 1).long()",
        "attributed_maps: gave a tensor of shape .1, 32, 48, 1., int64",
    ),
    "maps elsewhere": (
        "def num_attributed_maps(self, step): return 1\n"
        "def attributed_maps(self, step, info): return torch.ones(1, 32, 48, 1, device='meta')",
        "float32 on meta; floats on the device",
    ),
    "maps without grad": (
        "def num_attributed_maps(self, step): return 1\n"
        "def attributed_maps(self, step, info):\n    torch.set_grad_enabled(False)\n"
        "    return torch.ones(1, 32, 48, 1)",
        "left torch with gradients False|after its hooks",
    ),
    "updates of text": ("def update_every(self, step): return '5'", "update_every: gave '5'"),
    "updates of nan": ("def update_every(self, step): return math.nan", "update_every: gave nan"),
    "updates never": ("def update_every(self, step): return 10**30", None),
    "updates by NumPy": ("def update_every(self, step): return np.int64(2)", None),
    "together of a list": ("def steps_together(self, step): return [2]", "steps_together: gave"),
    "lr_step infinite": ("def lr_step(self, step): return math.inf", "lr_step: gave inf; a finite"),
    "lr_step far below": ("def lr_step(self, step): return -10**9", "lr_step: gave -1000000000"),
    "lr_step of text": ("def lr_step(self, step): return 'soon'", "lr_step: gave 'soon'"),
    "lr_step of a tensor": ("def lr_step(self, step): return torch.tensor(3.0)", None),
    "lr_step of tensors": (
        "def lr_step(self, step): return torch.ones(2)",
        "lr_step: gave a tensor",
    ),
    "degree of floats": ("def sh_degree(self, step, scheduled): return 2.0", "sh_degree: gave 2.0"),
    "degree below": ("def sh_degree(self, step, scheduled): return -1", "sh_degree: gave -1"),
    "degree of tensors": (
        "def sh_degree(self, step, scheduled): return torch.ones(2)",
        "gave a ten",
    ),
    "absgrad of tensors": ("absgrad = torch.ones(3)", "needs_absgrad: "),
    "absgrad until text": ("absgrad = True\nrefine_stop_iter = 'late'", "needs_absgrad: TypeError"),
    "term of a number": (
        "def regularization(self, params, step): return 0.5",
        "gave 0.5; a tensor",
    ),
    "term of a row": (
        "def regularization(self, params, step): return params['means'].sum(0)",
        r"gave"
        r" a tensor of shape \(3,\), float32 on cpu; a tensor \[\] of floats",
    ),
    "term in a list": (
        "def regularization(self, params, step): return params['means'].sum()[None]",
        None,
    ),
    "term of bools": (
        "def regularization(self, params, step): return torch.tensor(True)",
        "bool on",
    ),
    "term elsewhere": (
        "def regularization(self, params, step): return torch.ones((), device='meta')",
        "after its hooks|gave",
    ),
    "term used before": (
        "def regularization(self, params, step):\n"
        "    self.kept = getattr(self, 'kept', None) or params['means'].exp().sum()\n"
        "    return self.kept",
        "after its hooks: RuntimeError",
    ),
    "term exits later": (
        "def regularization(self, params, step): return Backward.apply(params['means'])",
        "after its hooks: SystemExit",
    ),
    "term nan": (
        "def regularization(self, params, step): return params['means'].sum() * math.nan",
        "regularization: gave nan, no finite loss",
    ),
    "an answer without words": (
        "def update_every(self, step): return type('X', (), {'__repr__': lambda s: 1 / 0})()",
        "update_every: gave a X; a whole",
    ),
    "async": ("async def step_pre_backward(self, **all): pass", "step_pre_backward: would not run"),
    "a yield": ("def update_every(self, step):\n    yield 1", "update_every: would not run"),
    "too few arguments": ("def step_pre_backward(self): pass", None),
    "unknown arguments": ("def step_pre_backward(self, model): pass", "TypeError"),
    "no method": ("step_pre_backward = 3", "step_pre_backward: is 3; a method is needed"),
    "a property that raises": (
        "@property\ndef lr_step(self): raise KeyError('k')",
        "cannot be called",
    ),
    "no signature": ("check_sanity = dict.fromkeys", "check_sanity: "),
    "state of a list": ("def initialize_state(self, scene_scale=1.0): return [1]", "gave list"),
    "state with numbers": (
        "def initialize_state(self, scene_scale=1.0): return {1: 2}",
        "the key 1",
    ),
    "rows of text": ("per_gaussian = 'abc'", "per_gaussian: is 'abc'; a tuple of names"),
    "rows of a number": ("per_gaussian = 5", "per_gaussian: is 5"),
    "start deletes": (
        "def check_sanity(self, params, optimizers): params.clear()",
        "before the first step, initialize_state: parameters are none",
    ),
    "start exits": ("def initialize_state(self, scene_scale=1.0): sys.exit(0)", "SystemExit: 0"),
    "default type of the file": ("torch.set_default_dtype(torch.float64)", "torch.float64"),
    "gradients off in the file": ("torch.set_grad_enabled(False)", "gradients False"),
}
# The same, refused before a run.
CONFIG = {
    "recipe of text": (
        "recipe = {'steps': 'many'}",
        "'steps' of TrainConfig cannot be 'many', a str",
    ),
    "recipe of halves": ("recipe = {'steps': 7.5}", "cannot be 7.5, a float"),
    "recipe of truth": ("recipe = {'lr.means': True}", "cannot be True, a bool"),
    "recipe of a group": ("recipe = {'init': 3}", "'init' of TrainConfig cannot be 3"),
    "recipe below an option": ("recipe = {'steps.x': 3}", "no option 'x' in int"),
    "recipe of numbers": ("recipe = {5: 3}", "no option '5' in TrainConfig"),
    "recipe out of range": ("recipe = {'steps': 0}", "recipe of CustomStrategy .* --steps is 0"),
    "recipe infinite": ("recipe = {'lr.means': math.inf}", "lr.means is inf"),
    "recipe of another choice": ("recipe = {'render.background': 'pink'}", "cannot be 'pink'"),
    "recipe of a list": ("recipe = [1]", "recipe is list"),
    "recipe that raises": (
        "recipe = type('R', (dict,), {'items': lambda s: sys.exit(0)})()",
        "Exit",
    ),
    "default exits": ("x: int = field(default_factory=lambda: sys.exit(0))", "SystemExit: 0"),
    "exits when made": (
        "def __post_init__(self): sys.exit(0)",
        "CustomStrategy.. fails: SystemExit",
    ),
    "boom when made": ("def __post_init__(self): raise Boom", "fails: Boom"),
    "exits at import": ("sys.exit(0)", "cannot be imported: SystemExit: 0"),
    "boom at import": ("raise Boom('x')", "cannot be imported: Boom: x"),
    "an option called name": ("name: str = 'x'", "option 'name' .* cannot be told"),
    "an option made odd": (
        "x: float = 1.0\ndef __post_init__(self): self.x = np.float64(1)",
        "option 'x' of CustomStrategy is a float64",
    ),
    "an option nan": ("x: float = math.nan", "option 'x' of CustomStrategy is nan"),
    "options with nan": ("x: tuple[float, ...] = (1.0, math.nan)", "is .1.0, nan."),
    "scaled to nothing": ("def scaled(self, factor): return None", "scaled.0.5. gave a NoneType"),
    "scaled to a class": ("def scaled(self, factor): return CustomStrategy", "gave a type"),
    "scaled exits": (
        "def scaled(self, factor): sys.exit(0)",
        "cannot be scaled by 0.5: SystemExit",
    ),
    "scaled is none": ("scaled = 3", "cannot be scaled by 0.5: TypeError"),
    "every text": ("refine_every: str = 'x'", "cannot be scaled by 0.5: TypeError"),
    "every zero": ("refine_every: int = 0\nreset_every: int = 3", "by 0.5: ZeroDivisionError"),
}
GOES_ON = {
    "schedule without an end": "refine_every: int = 100\nrefine_stop_iter: float = math.inf",
    "never": "refine_every: float = math.inf\nreset_every: float = math.inf",
    "an infinite option": "x: float = math.inf",
}


def text_of(after: str = "pass", before: str = "pass", more: str = "") -> str:
    """The file of a strategy whose hooks do something at step 1, with further members."""

    def at_step_1(code: str) -> str:
        return f"if step == 1: {code}"

    members = MEMBERS.format(after=at_step_1(after), before=at_step_1(before), more=more)
    if "initialize_state" not in more and "check_sanity" not in more:
        members += (
            "\ndef initialize_state(self, scene_scale=1.0):"
            " return {'n': torch.zeros(40), 'scale': scene_scale}"
        )
    return FILE.format(members=textwrap.indent(members, "    ").lstrip())


def is_scaled(more: str) -> bool:
    """Whether the code is about scaling a schedule."""
    return "refine_every" in more or "scaled" in more
