# What Athens does with a version that it does not have yet.
mode = "sync"
# For the modes "redirect" and "async_redirect" only, but Athens does not start without the word.
downloadURL = ""

# A module that must never be fetched from outside can be refused here too; [athens] block of modsync's is by version.
# download "github.com/someone/broken" {
#     mode = "none"
# }
