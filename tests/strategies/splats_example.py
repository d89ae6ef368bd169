"""A small random model with optimisers whose moments are filled, and statistics."""

import torch

from gs_densify.model.init import create_optimizers, to_parameters

RATES = {
    "means": 1e-3,
    "scales": 5e-3,
    "quats": 1e-3,
    "opacities": 5e-2,
    "sh0": 2.5e-3,
    "shN": 1e-4,
}


def random_splats(count: int, *, seed: int = 0, device: str = "cpu") -> torch.nn.ParameterDict:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    values = {
        "means": draw(count, 3),
        "scales": 0.5 * draw(count, 3) - 3.0,
        "quats": draw(count, 4),
        "opacities": 2.0 * draw(count),
        "sh0": draw(count, 1, 3),
        "shN": draw(count, 15, 3),
    }
    return to_parameters(values, torch.device(device))


def trained(count: int, *, seed: int = 0, device: str = "cpu"):
    """Splats, optimisers that took two steps, and a state with statistics."""
    params = random_splats(count, seed=seed, device=device)
    optimizers = create_optimizers(params, RATES)
    generator = torch.Generator().manual_seed(seed + 1)
    for _ in range(2):
        for name, parameter in params.items():
            parameter.grad = torch.randn(parameter.shape, generator=generator).to(device)
            optimizers[name].step()
            optimizers[name].zero_grad()
    state = {
        "grad2d": torch.rand(count, generator=generator).to(device),
        "history": torch.rand(count, 2, generator=generator).to(device),
        "scene_scale": 1.3,
        "nothing": None,
    }
    return params, optimizers, state


def snapshot(params, optimizers, state) -> dict[str, torch.Tensor]:
    """Every tensor of the model, its optimisers and its statistics, by a readable name."""
    found = {f"param {name}": value.detach().clone() for name, value in params.items()}
    for name, optimizer in optimizers.items():
        for key, value in optimizer.state[params[name]].items():
            found[f"{key} of {name}"] = torch.as_tensor(value).clone()
    for key, value in state.items():
        if isinstance(value, torch.Tensor):
            found[f"state {key}"] = value.clone()
    return found
