# Three small ARM machines at a cloud (here Hetzner's; any other provider's machines go into
# the module `inventory` the same way):
#
#   export HCLOUD_TOKEN=...
#   terraform init && terraform apply -var ssh_key=my-key -var 'admins=["198.51.100.7/32"]'
#   terraform output -raw inventory > inventory.yaml
#   edgectl deploy -i inventory.yaml && edgectl fleet status --fleet inventory.yaml

terraform {
  required_version = ">= 1.5"
  required_providers {
    hcloud = {
      source  = "hetznercloud/hcloud"
      version = "~> 1.45"
    }
  }
}

variable "ssh_key" {
  description = "Name of an SSH key that the cloud knows."
  type        = string
}

variable "admins" {
  description = "Networks that may log in and call the nodes."
  type        = list(string)
}

variable "names" {
  type    = list(string)
  default = ["edge1", "edge2", "edge3"]
}

# The broker (8883, TLS and a password each) is open to the nodes, whose addresses are known
# only when they are there.
resource "hcloud_firewall" "edge" {
  name = "edgewhisk"
  dynamic "rule" {
    for_each = { "22" = var.admins, "443" = var.admins, "8883" = ["0.0.0.0/0", "::/0"] }
    content {
      direction  = "in"
      protocol   = "tcp"
      port       = rule.key
      source_ips = rule.value
    }
  }
}

resource "hcloud_server" "edge" {
  for_each     = toset(var.names)
  name         = each.key
  image        = "debian-12"
  server_type  = "cax11"
  ssh_keys     = [var.ssh_key]
  firewall_ids = [hcloud_firewall.edge.id]
}

module "inventory" {
  source   = "./inventory"
  machines = { for name, server in hcloud_server.edge : name => { address = server.ipv4_address } }
  brokers  = [var.names[0]]
}

output "inventory" {
  value = module.inventory.inventory
}
