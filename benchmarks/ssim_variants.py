"""Times ways to blur for the SSIM loss on a GPU; prints JSON."""
import json, time, torch
from gs_densify.training.losses import ssim, _gaussian
def blurred_mm(x, B1, B2):
    return torch.matmul(torch.matmul(B2, x), B1)
def band(n, w):
    m=torch.zeros(n, n-10, device=w.device)
    for i in range(11): m[torch.arange(n-10)+i, torch.arange(n-10)]=w[i]
    return m
def ssim_mm(a,b,B1,B2):
    a=a.permute(0,3,1,2); b=b.permute(0,3,1,2)
    m=blurred_mm(torch.cat([a,b,a*a,b*b,a*b]),B1,B2)
    x,y,xx,yy,xy=m.chunk(5)
    return (((2*x*y+1e-4)*(2*(xy-x*y)+9e-4))/((x*x+y*y+1e-4)*(xx-x*x+yy-y*y+9e-4))).mean()
torch.backends.cudnn.allow_tf32=False
h,w=533,800
b=torch.rand(1,h,w,3,device="cuda"); a=(b+.1*torch.randn_like(b)).requires_grad_()
g=_gaussian(b.device,b.dtype); B1=band(w,g); B2=band(h,g).T.contiguous()
out={}
for name,f in {"conv":lambda: ssim(a,b),"mm":lambda: ssim_mm(a,b,B1,B2)}.items():
    for bm in (False,True):
        torch.backends.cudnn.benchmark=bm
        for _ in range(5): f().backward()
        torch.cuda.synchronize(); t=time.perf_counter()
        for _ in range(50): f().backward()
        torch.cuda.synchronize(); out[f"{name} benchmark={bm}"]=(time.perf_counter()-t)*20
    out[name+" value"]=float(f())
print(json.dumps(out))
