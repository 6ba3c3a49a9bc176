# What Athens does with a version that it does not have yet.
mode = "sync"

# A module that must never be fetched from outside can be refused here too; [athens] block of modsync's is by version.
# download "github.com/someone/broken" {
#     mode = "none"
# }
