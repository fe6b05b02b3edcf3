"""Networks: the full model, the face networks, bundles made for devices, distillation and alignment."""
