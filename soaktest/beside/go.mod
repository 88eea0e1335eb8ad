// A module beside Soak's, as yours would be: its test uses soaktest as anybody can. The end-to-end tests run it.
module example.org/beside

go 1.26

require soak v0.0.0

replace soak => ../..
