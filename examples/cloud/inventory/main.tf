# An inventory of `edgectl` for machines that Terraform has made, of any provider: a map of
# names to addresses in, YAML out. It needs no provider itself.

terraform {
  required_version = ">= 1.5"
}

variable "machines" {
  description = "Name of each machine: its address, and what else Ansible is to know of it."
  type = map(object({
    address   = string
    variables = optional(map(string), {})
  }))
}

variable "user" {
  description = "Who logs in over SSH; it needs sudo."
  type        = string
  default     = "root"
}

variable "private_key_file" {
  description = "The key that opens the machines, on the machine that deploys; \"\": ssh's own choice."
  type        = string
  default     = ""
}

variable "brokers" {
  description = "Which of the machines are MQTT brokers."
  type        = list(string)
  default     = []
}

output "inventory" {
  description = "terraform output -raw inventory > inventory.yaml && edgectl deploy -i inventory.yaml"
  value = yamlencode({
    all = {
      vars = merge(
        { ansible_user = var.user },
        var.private_key_file == "" ? {} : { ansible_ssh_private_key_file = var.private_key_file },
      )
      hosts = {
        for name, machine in var.machines :
        name => merge({ ansible_host = machine.address }, machine.variables)
      }
      children = { mqtt_brokers = { hosts = { for name in var.brokers : name => {} } } }
    }
  })
}
